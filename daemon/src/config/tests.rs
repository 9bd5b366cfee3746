use super::*;

const SHIPPED: &str = include_str!("../../../config/clipmarkd.toml");

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("test.toml"))
}

/// An error with all its causes.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[test]
fn the_shipped_file_equals_the_defaults() {
    assert_eq!(parse(SHIPPED).unwrap(), Config::default());
    assert_eq!(parse("").unwrap(), Config::default());
}

#[test]
fn every_commented_key_of_the_shipped_file_can_be_uncommented() {
    let is_key = |line: &str| {
        line.strip_prefix("# ")
            .is_some_and(|rest| rest.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')))
    };
    assert_eq!(SHIPPED.lines().filter(|line| is_key(line)).count(), 9);
    let uncommented: Vec<&str> =
        SHIPPED.lines().map(|line| if is_key(line) { &line[2..] } else { line }).collect();
    let text = uncommented.join("\n").replace("enabled = false", "enabled = true");
    let config = parse(&text).unwrap();
    assert_eq!(config.device.id.unwrap().as_str(), "orin-7");
    assert_eq!(config.mqtt.tls.client_key, Some("credential:mqtt-client.key".into()));
    assert!(config.mqtt.username_file.is_some() && config.mqtt.tls.ca.is_some());
}

/// Table and key names, taken from the defaults' own debug output: what is there must be shown in the file.
#[test]
fn every_key_is_shown_in_the_shipped_file() {
    let debug = format!("{:#?}", Config::default());
    let keys = debug.lines().filter_map(|line| line.trim().split_once(": ").map(|(key, _)| key.to_owned()));
    for key in keys {
        let shown = SHIPPED.lines().any(|line| {
            let line = line.trim_start_matches("# ");
            line.starts_with(&format!("{key} = "))
                || line == format!("[{key}]")
                || line == format!("[mqtt.{key}]")
        });
        assert!(shown, "{key} is not in config/clipmarkd.toml");
    }
}

#[test]
fn unknown_keys_and_wrong_types_are_named_with_their_line() {
    for (text, parts) in [
        ("[mqtt]\nhots = \"x\"", ["hots", "line 2"]),
        ("[broker]\nhost = \"x\"", ["broker", "line 1"]),
        ("[mqtt]\nport = \"x\"", ["port", "line 2"]),
        ("[device]\nid = \"a/b\"", ["a/b", "line 2"]),
        ("[spool]\ndelivery = \"maybe\"", ["maybe", "line 2"]),
    ] {
        let error = told(&parse(text).unwrap_err());
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
}

#[test]
fn values_outside_their_range_are_named_with_the_range() {
    for (text, key) in [
        ("[mqtt]\nport = 0", "mqtt.port"),
        ("[mqtt]\nkeepalive_s = 4", "mqtt.keepalive_s"),
        ("[mqtt]\nbackoff_min_ms = 9000\nbackoff_max_ms = 8000", "mqtt.backoff_min_ms"),
        ("[spool]\nmax_bytes = 1000000", "spool.reserve_bytes"),
        ("[spool]\nwindow = 0", "spool.window"),
        ("[run]\nattempts = 0", "run.attempts"),
        ("[run]\nlongest_s = 4000000", "run.longest_s"),
    ] {
        let error = told(&parse(text).unwrap_err());
        assert!(error.contains(key) && error.contains("test.toml") && error.contains(" to "), "{error}");
    }
}

#[test]
fn keys_that_belong_together_are_asked_for_together() {
    for (text, first, second) in [
        ("[mqtt]\npassword_file = \"/p\"", "mqtt.password_file", "mqtt.username_file"),
        ("[mqtt.tls]\nenabled = true\nclient_key = \"/k\"", "client_key", "client_certificate"),
        ("[mqtt.tls]\nca = \"/ca\"", "mqtt.tls.ca", "mqtt.tls.enabled"),
    ] {
        let error = told(&parse(text).unwrap_err());
        assert!(error.contains(first) && error.contains(second), "{error}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let error = told(&Config::load(Path::new("/nonexistent/clipmarkd.toml")).unwrap_err());
    assert!(error.contains("/nonexistent/clipmarkd.toml") && error.contains("No such file"), "{error}");
}

#[test]
fn identity_and_state_directory_need_a_restart() {
    let running = Config::default();
    let other = parse("[device]\nid = \"b\"\nstate_dir = \"/x\"\n[mqtt]\nhost = \"h\"").unwrap();
    assert_eq!(other.needs_restart(&running), ["device.id", "device.state_dir"]);
    assert_eq!(running.needs_restart(&running), [] as [&str; 0]);
}
