//! Tests of the translation as a whole, driven by data: `cases/` holds ours,
//! `recordings.rs` reads what real traffic lies beside the repository.

mod answers;
mod events;
mod headers;
mod recordings;
mod requests;

use std::path::Path;

use serde_json::Value;

/// All cases of the files in a folder of `cases/`.
fn cases(folder: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("cases")
        .join(folder);
    let mut cases = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let file: Vec<Value> = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(!file.is_empty(), "{} has no cases", path.display());
        cases.extend(file);
    }
    assert!(!cases.is_empty(), "{} has no cases", folder.display());
    cases
}
