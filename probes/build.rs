//! Lists config/boards/*.toml for embedding, so that a new board needs no line of Rust.

use std::fmt::Write as _;
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let boards = Path::new(&std::env::var("CARGO_MANIFEST_DIR")?).join("../config/boards").canonicalize()?;
    let mut files: Vec<_> = std::fs::read_dir(&boards)?.collect::<Result<_, _>>()?;
    files.retain(|file| file.path().extension().is_some_and(|extension| extension == "toml"));
    files.sort_by_key(std::fs::DirEntry::file_name);
    let mut list = String::from("&[\n");
    for file in files {
        let path = file.path();
        writeln!(list, "({:?}, include_str!({:?})),", file.file_name(), path)?;
    }
    list.push(']');
    std::fs::write(Path::new(&std::env::var("OUT_DIR")?).join("boards.rs"), list)?;
    println!("cargo::rerun-if-changed={}", boards.display());
    Ok(())
}
