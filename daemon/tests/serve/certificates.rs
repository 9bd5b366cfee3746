//! Brokers and devices with certificates.

use crate::broker::Broker;
use std::path::Path;
use std::process::Command;

/// Settings of a broker with a TLS listener beside the plain one; `{more}` is for the listener.
pub(crate) fn encrypted(more: &str) -> Broker {
    let tls = "listener {tls} 127.0.0.1\nallow_anonymous true\ncafile {dir}/ca.crt\ncertfile {dir}/broker.crt\n\
               keyfile {dir}/broker.key\n";
    Broker::prepared(&format!("allow_anonymous true\n{tls}{more}"))
}

fn openssl(dir: &Path, arguments: &str) {
    let done = Command::new("openssl").current_dir(dir).args(arguments.split(' ')).output().unwrap();
    assert!(done.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&done.stderr));
}

/// When a certificate is valid, as openssl's `ca` takes it: from and to.
pub(crate) type Dates = [&'static str; 2];

pub(crate) const ALWAYS: Dates = ["20000101000000Z", "20491231000000Z"];

/// A certificate authority, and certificates of it for broker and device.
pub(crate) fn certificates(dir: &Path, name: &str, [from, to]: Dates) {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(dir, &format!("req -x509 {key} -days 9000 -subj /CN=test-ca -keyout ca.key -out ca.crt"));
    let settings = format!(
        "[ca]\ndefault_ca=it\n[it]\ndatabase=index\nnew_certs_dir=.\nrand_serial=yes\ndefault_md=sha256\npolicy=any\n\
         x509_extensions=v3\n[any]\ncommonName=supplied\n[v3]\nsubjectAltName={name}\n"
    );
    std::fs::write(dir.join("ca.cnf"), settings).unwrap();
    std::fs::write(dir.join("index"), "").unwrap();
    for name in ["broker", "device"] {
        openssl(dir, &format!("req -new {key} -subj /CN={name} -keyout {name}.key -out {name}.csr"));
        let sign = "ca -batch -notext -config ca.cnf -cert ca.crt -keyfile ca.key";
        openssl(dir, &format!("{sign} -startdate {from} -enddate {to} -in {name}.csr -out {name}.crt"));
    }
}

/// Settings of a device that trusts the authority whose certificate is in `dir`.
pub(crate) fn trusting(dir: &Path) -> String {
    format!("[mqtt.tls]\nenabled = true\nca = \"{}/ca.crt\"\n", dir.display())
}
