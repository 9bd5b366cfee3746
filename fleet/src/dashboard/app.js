(() => {
  const row = (device) => document.querySelector(`[data-device="${CSS.escape(device)}"]`);
  const source = new EventSource("/events");
  const on = (name, act) => source.addEventListener(name, (event) => act(JSON.parse(event.data)));
  on("state", ({ device, word, class: kind }) => {
    const pill = row(device)?.querySelector(".pill");
    if (!pill) return;
    pill.textContent = word;
    pill.className = "pill " + kind;
    if (kind !== "busy") row(device).querySelector(".now")?.replaceChildren();
  });
  on("progress", (news) => {
    const cell = row(news.device)?.querySelector(".now");
    if (!cell) return;
    const parts = [news.phase];
    if (news.label) parts.push(news.label);
    if (news.celsius !== null) parts.push(news.celsius.toFixed(0) + " °C");
    const text = document.createElement("span");
    text.textContent = parts.join(" · ");
    const bar = document.createElement("progress");
    if (news.points) {
      bar.max = news.points;
      bar.value = Math.max(0, news.point - 1);
      text.textContent += " · " + news.point + " of " + news.points;
    }
    cell.replaceChildren(bar, text);
  });
  on("status", ({ device, command, said }) => {
    const cell = document.querySelector(`[data-command="${CSS.escape(command)}"] [data-device="${CSS.escape(device)}"] .said`);
    if (cell) cell.textContent = said;
  });
  on("stored", ({ devices }) => {
    for (const device of devices) row(device)?.classList.add("fresh");
    const note = document.querySelector("#news");
    if (note && devices.some((device) => row(device))) note.hidden = false;
  });
  on("trouble", ({ reason }) => {
    const note = document.querySelector("#trouble");
    if (!note) return;
    note.hidden = reason === null;
    note.textContent = reason === null ? "" : "The store takes nothing: " + reason;
  });
  source.addEventListener("reload", () => location.reload());
})();
