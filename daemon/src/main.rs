//! clipmarkd: see [`clipmark_daemon::cli`] for the command line.

fn main() -> std::process::ExitCode {
    clipmark_daemon::cli::main().into()
}
