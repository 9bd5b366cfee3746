(() => {
  const root = document.documentElement;
  const order = ["auto", "light", "dark"];
  let theme = "auto";
  try { theme = localStorage.getItem("clipmark-theme") || "auto"; } catch { /* storage may be denied */ }
  const apply = () => {
    if (theme === "auto") delete root.dataset.theme; else root.dataset.theme = theme;
    const button = document.querySelector("button.theme");
    if (button) button.textContent = "Theme: " + theme;
  };
  apply();
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.querySelector("button.theme");
    button.hidden = false;
    button.addEventListener("click", () => {
      theme = order[(order.indexOf(theme) + 1) % order.length];
      try { localStorage.setItem("clipmark-theme", theme); } catch { /* storage may be denied */ }
      apply();
    });
    apply();
  });
})();
