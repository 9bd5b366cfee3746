use super::*;
use crate::tree::Tree;

const CONF: &str = "/etc/nvpmodel.conf\t< PARAM TYPE=FILE NAME=CPU_ONLINE >\\nCORE_1 /sys/cpu1/online\\n\
    < PARAM TYPE=CLOCK NAME=CPU_A78_0 >\\nFREQ_TABLE /sys/table\\nMAX_FREQ /sys/p0/max\\n\
    < POWER_MODEL ID=0 NAME=15W >\\nCPU_ONLINE CORE_1 0\\nCPU_A78_0 MAX_FREQ 1497600\\n\
    < POWER_MODEL ID=2 NAME=MAXN_SUPER >\\nCPU_ONLINE CORE_1 1\\nCPU_A78_0 MAX_FREQ -1\\n\
    < PM_CONFIG DEFAULT=2 >\n/sys/cpu1/online\t1\n/sys/p0/max\t1728000\n";

fn mode(status: &str) -> Result<Option<PowerMode>, PowerModeError> {
    let text = format!("{CONF}/var/lib/nvpmodel/status\t{status}\n");
    PowerMode::read(&Root::stored(Tree::parse(&text).unwrap()))
}

#[test]
fn the_mode_has_its_name_from_the_configuration() {
    let maxn = mode("pmode:0002 fmode:quiet").unwrap().unwrap();
    assert_eq!((maxn.label().as_str(), maxn.contradictions.len()), ("2 MAXN_SUPER", 0));
}

#[test]
fn a_status_that_the_caps_contradict_is_told() {
    let low = mode("pmode:0000").unwrap().unwrap();
    assert_eq!(low.label(), "0 15W");
    assert_eq!(low.contradictions.len(), 2, "{:?}", low.contradictions);
    assert!(low.contradictions[1].contains("1728000"));
}

#[test]
fn an_unreadable_mode_is_an_error_only_where_a_mode_is_expected() {
    let read = |text: &str| PowerMode::read(&Root::stored(Tree::parse(text).unwrap()));
    assert_eq!(read("/x\t1\n"), Ok(None));
    assert!(read("/etc/nv_tegra_release\t# R36\n").unwrap_err().to_string().contains("nvpmodel"));
    assert!(mode("nonsense").is_err());
}
