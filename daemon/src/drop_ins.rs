//! Which drop-ins of the systemd unit this machine needs, and why.
//!
//! The unit is closed as far as every board permits; a *drop-in* opens or adapts one thing where a board or
//! its systemd needs it. Choosing is pure: what was found is an argument. Installing files is the caller's.

use std::collections::BTreeSet;
use std::net::IpAddr;

/// Where an administrator's drop-ins of the unit lie.
pub const FOLDER: &str = "/etc/systemd/system/clipmarkd.service.d";

/// Where credentials are taken from, one file each, readable by root alone.
const CREDENTIALS: &str = "/etc/clipmark/credentials";

/// The drop-in that is wrong as soon as the configuration names another broker.
pub const BROKER_ADDRESS: &str = "broker-address.conf";

/// First systemd with `LoadCredential`.
const HAS_CREDENTIALS: u32 = 247;

/// First systemd that knows the system call group `@system-service`, on which the unit builds.
const HAS_SYSTEM_SERVICE: u32 = 239;

/// What bears on the choice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// systemd's version; absent where there is none.
    pub systemd: Option<u32>,
    /// Signals of this board that root alone can read, each as `channel (path)`.
    pub guarded: Vec<String>,
    /// The TensorRT found.
    pub tensorrt: Option<String>,
    /// Names of the credentials that the configuration wants.
    pub credentials: BTreeSet<String>,
    /// The broker as the configuration names it.
    pub broker: Option<String>,
}

/// One drop-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropIn {
    /// Its file's name.
    pub name: &'static str,
    /// Why this machine needs it.
    pub because: String,
    /// The file.
    pub content: String,
}

/// The drop-ins that a machine with these `facts` needs.
#[must_use]
pub fn choose(facts: &Facts) -> Vec<DropIn> {
    [debugfs(facts), executable_memory(facts), credentials(facts), broker_address(facts), old_systemd(facts)]
        .into_iter()
        .flatten()
        .collect()
}

/// The service may talk to its broker alone, where that has an address for good: what a name stands for can change, and
/// would have to be asked of a server elsewhere.
fn broker_address(facts: &Facts) -> Option<DropIn> {
    let host = facts.broker.as_deref()?;
    let address = match host.parse::<IpAddr>() {
        Ok(address) => address.to_string(),
        Err(_) if host == "localhost" => host.to_owned(),
        Err(_) => return None,
    };
    Some(DropIn {
        name: BROKER_ADDRESS,
        because: format!("mqtt.host is the address {host}, and nothing else needs to be reached"),
        content: format!(
            "# The broker, and nobody else. Write it again (clipmarkd check --drop-in --install) when mqtt.host changes.\n\
             [Service]\nIPAddressDeny=any\nIPAddressAllow={address}\n"
        ),
    })
}

fn debugfs(facts: &Facts) -> Option<DropIn> {
    let first = facts.guarded.first()?;
    let more = match facts.guarded.len() {
        1 => String::new(),
        several => format!(" and {} more signals", several - 1),
    };
    Some(DropIn {
        name: "debugfs.conf",
        because: format!("root alone can read {first}{more}"),
        content: include_str!("../../systemd/drop-ins/debugfs.conf").into(),
    })
}

fn executable_memory(facts: &Facts) -> Option<DropIn> {
    let version = facts.tensorrt.as_ref()?;
    Some(DropIn {
        name: "writable-executable-memory.conf",
        because: format!("TensorRT {version} is here, and some releases generate code while they run"),
        content: include_str!("../../systemd/drop-ins/writable-executable-memory.conf").into(),
    })
}

fn credentials(facts: &Facts) -> Option<DropIn> {
    if facts.credentials.is_empty() {
        return None;
    }
    let names: Vec<&str> = facts.credentials.iter().map(String::as_str).collect();
    let wanted = format!("the configuration wants the credentials {}", names.join(", "));
    let version = facts.systemd.filter(|version| *version < HAS_CREDENTIALS);
    let mut content =
        format!("# Each credential is a file in {CREDENTIALS}, readable by root alone.\n[Service]\n");
    let Some(version) = version else {
        content.extend(names.iter().map(|name| format!("LoadCredential={name}:{CREDENTIALS}/{name}\n")));
        return Some(DropIn { name: "credentials.conf", because: wanted, content });
    };
    content.push_str("Environment=CREDENTIALS_DIRECTORY=/run/clipmark/credentials\n");
    content.push_str(
        "ExecStartPre=+/usr/bin/install -d -m 0700 -o clipmark -g clipmark /run/clipmark/credentials\n",
    );
    content.extend(names.iter().map(|name| {
        format!(
            "ExecStartPre=+/usr/bin/install -m 0400 -o clipmark -g clipmark {CREDENTIALS}/{name} \
             /run/clipmark/credentials/{name}\n"
        )
    }));
    let because = format!("{wanted}, and systemd {version} has no LoadCredential");
    Some(DropIn { name: "credentials.conf", because, content })
}

fn old_systemd(facts: &Facts) -> Option<DropIn> {
    let version = facts.systemd.filter(|version| *version < HAS_SYSTEM_SERVICE)?;
    Some(DropIn {
        name: "old-systemd.conf",
        because: format!("systemd {version} does not know the unit's system call filter"),
        content: include_str!("../../systemd/drop-ins/old-systemd.conf").into(),
    })
}

/// The version in what `systemctl --version` prints.
#[must_use]
pub fn systemd_version(printed: &str) -> Option<u32> {
    let version = printed.strip_prefix("systemd ")?.split_whitespace().next()?;
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(facts: &Facts) -> Vec<&'static str> {
        choose(facts).iter().map(|drop_in| drop_in.name).collect()
    }

    #[test]
    fn a_machine_that_needs_nothing_gets_nothing() {
        assert_eq!(names(&Facts { systemd: Some(252), ..Facts::default() }), [] as [&str; 0]);
        assert_eq!(names(&Facts::default()), [] as [&str; 0]);
    }

    #[test]
    fn guarded_signals_open_reading_and_nothing_else() {
        let guarded = vec!["clock.emc (/sys/kernel/debug/bpmp/rate)".to_owned(), "power.psys (x)".to_owned()];
        let chosen = choose(&Facts { systemd: Some(245), guarded, ..Facts::default() });
        assert_eq!(chosen.len(), 1);
        assert!(
            chosen[0].because.contains("clock.emc") && chosen[0].because.contains("1 more"),
            "{chosen:?}"
        );
        assert!(chosen[0].content.contains("AmbientCapabilities=CAP_DAC_READ_SEARCH"));
    }

    #[test]
    fn credentials_come_by_load_credential_or_on_an_old_systemd_by_a_copy_that_root_makes() {
        let credentials = BTreeSet::from(["mqtt-client.key".to_owned()]);
        let facts =
            |systemd| Facts { systemd: Some(systemd), credentials: credentials.clone(), ..Facts::default() };
        let new = &choose(&facts(249))[0];
        let load = "LoadCredential=mqtt-client.key:/etc/clipmark/credentials/mqtt-client.key\n";
        assert!(new.content.ends_with(load), "{}", new.content);
        let old = &choose(&facts(245))[0];
        assert!(!old.content.contains("LoadCredential"), "{}", old.content);
        assert!(old.content.contains("CREDENTIALS_DIRECTORY=/run/clipmark/credentials\n"), "{}", old.content);
        assert!(old.content.ends_with("/run/clipmark/credentials/mqtt-client.key\n"), "{}", old.content);
        assert!(old.because.contains("245"), "{}", old.because);
    }

    #[test]
    fn jetpack_4_gets_a_filter_that_its_systemd_knows() {
        let facts = Facts { systemd: Some(237), tensorrt: Some("8.2.1".into()), ..Facts::default() };
        assert_eq!(names(&facts), ["writable-executable-memory.conf", "old-systemd.conf"]);
        let filter = &choose(&facts)[1].content;
        assert!(
            filter.contains("\nSystemCallFilter=\n") && !filter.contains("@system-service\n"),
            "{filter}"
        );
    }

    #[test]
    fn a_broker_with_an_address_is_the_only_one_that_is_reached_and_a_name_opens_all() {
        let content = |host: &str| {
            let facts = Facts { systemd: Some(252), broker: Some(host.into()), ..Facts::default() };
            choose(&facts).into_iter().map(|drop_in| drop_in.content).collect::<String>()
        };
        for (host, address) in
            [("192.0.2.7", "192.0.2.7"), ("2001:DB8::1", "2001:db8::1"), ("localhost", "localhost")]
        {
            let content = content(host);
            let wanted = format!("[Service]\nIPAddressDeny=any\nIPAddressAllow={address}\n");
            assert!(content.ends_with(&wanted), "{content}");
        }
        assert_eq!(content("broker.example"), "");
    }

    #[test]
    fn systemds_version_is_read_from_what_it_prints() {
        for (printed, expected) in [
            ("systemd 252 (252.39-1~deb12u2)\n+PAM +AUDIT", Some(252)),
            ("systemd 237\n+PAM", Some(237)),
            ("systemd 257~rc1 (x)", Some(257)),
            ("bash: systemctl: not found", None),
            ("", None),
        ] {
            assert_eq!(systemd_version(printed), expected, "{printed}");
        }
    }
}
