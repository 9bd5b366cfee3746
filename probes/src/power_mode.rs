//! The power mode of Jetson boards: what nvpmodel says, and whether the caps agree.
//!
//! Mode ids are not portable between boards, and the status file can lie: the service may have failed,
//! or a mode may wait for a reboot. So the caps that `/etc/nvpmodel.conf` gives for the mode are compared
//! with the files that they name.

use crate::root::{ReadError, Root};
use std::collections::BTreeMap;

const STATUS: &str = "/var/lib/nvpmodel/status";
const CONFIG: &str = "/etc/nvpmodel.conf";
/// A cap may stand below its configured value because the kernel rounds to an operating point.
const CAP_TOLERANCE: f64 = 1.01;
/// Values from here on mean `no limit` in the configuration.
const NO_LIMIT: i64 = i32::MAX as i64;

/// Why the power mode is unknown on a board that should have one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PowerModeError {
    /// The status cannot be read.
    #[error("{0}; check `systemctl status nvpmodel`")]
    Status(ReadError),
    /// The status is not understood.
    #[error("{STATUS} holds `{0}`, not `pmode:NUMBER`")]
    Format(String),
}

/// The power mode in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PowerMode {
    /// Its number on this board.
    pub id: u32,
    /// Its name, where the configuration gives one.
    pub name: Option<String>,
    /// Caps that do not agree with it, each in words.
    pub contradictions: Vec<String>,
}

impl PowerMode {
    /// Reads the mode; `Ok(None)` on boards that have none.
    ///
    /// # Errors
    /// Why the mode is unknown on a board that should have one.
    pub fn read(root: &Root) -> Result<Option<Self>, PowerModeError> {
        let status = match root.read_text(STATUS) {
            Ok(status) => status,
            Err(error) if root.exists("/etc/nv_tegra_release") => {
                return Err(PowerModeError::Status(error));
            }
            Err(_) => return Ok(None),
        };
        let id = status.split_whitespace().find_map(|word| word.strip_prefix("pmode:")?.parse().ok());
        let id: u32 = id.ok_or_else(|| PowerModeError::Format(status.chars().take(40).collect()))?;
        let config = root.read_text(CONFIG).unwrap_or_default();
        let config = Config::parse(&config, id);
        Ok(Some(Self { id, contradictions: config.contradictions(root), name: config.name }))
    }

    /// Id and name, e.g. `2 MAXN_SUPER`.
    #[must_use]
    pub fn label(&self) -> String {
        match &self.name {
            Some(name) => format!("{} {name}", self.id),
            None => self.id.to_string(),
        }
    }
}

/// What the configuration says of one mode.
#[derive(Debug, Default)]
struct Config {
    name: Option<String>,
    /// Parameter and argument to the file that it sets.
    paths: BTreeMap<(String, String), String>,
    /// Parameter, argument and value of the mode.
    settings: Vec<(String, String, i64)>,
}

/// The part of the file that a line belongs to.
enum Section {
    Elsewhere,
    Parameter(String),
    Mode,
}

impl Config {
    fn parse(text: &str, id: u32) -> Self {
        let mut config = Self::default();
        let mut section = Section::Elsewhere;
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            if let Some(header) = line.strip_prefix('<') {
                section = config.header(header.trim_end_matches('>'), id);
                continue;
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            match (&section, words.as_slice()) {
                (Section::Parameter(parameter), [argument, path]) if path.starts_with('/') => {
                    config.paths.insert((parameter.clone(), (*argument).to_owned()), (*path).to_owned());
                }
                (Section::Mode, [parameter, argument, value]) => {
                    if let Ok(value) = value.parse() {
                        config.settings.push(((*parameter).to_owned(), (*argument).to_owned(), value));
                    }
                }
                _ => {}
            }
        }
        config
    }

    fn header(&mut self, header: &str, id: u32) -> Section {
        let attribute = |name: &str| {
            header.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
        };
        if header.trim_start().starts_with("PARAM") {
            return attribute("NAME").map_or(Section::Elsewhere, |name| Section::Parameter(name.to_owned()));
        }
        if header.trim_start().starts_with("POWER_MODEL")
            && attribute("ID").and_then(|text| text.parse().ok()) == Some(id)
        {
            self.name = attribute("NAME").map(str::to_owned);
            return Section::Mode;
        }
        Section::Elsewhere
    }

    fn contradictions(&self, root: &Root) -> Vec<String> {
        let mut found = Vec::new();
        for (parameter, argument, value) in &self.settings {
            let Some(path) = self.paths.get(&(parameter.clone(), argument.clone())) else { continue };
            let Ok(actual) = root.read_number(path) else { continue };
            let limited = *value >= 0 && *value < NO_LIMIT;
            let differs = match argument.as_str() {
                "MAX_FREQ" => limited && actual as f64 > *value as f64 * CAP_TOLERANCE,
                core if core.starts_with("CORE_") => actual != *value,
                _ => false,
            };
            if differs {
                found.push(format!("{path} is {actual}, but the mode sets {value}"));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
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
}
