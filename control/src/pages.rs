//! Pages below `docs/` with a part that the code writes: a test holds each against the code.
//! It knows no page, and changes none unless it is told to.

use std::path::Path;

const BEGIN: &str = "<!-- Written from the code: -->\n";
const END: &str = "<!-- /code -->\n";

/// Holds the generated part of `docs/<name>` against `expected`, or writes it anew if `UPDATE_EXPECTED` is set.
pub(crate) fn check(name: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs")
        .join(name);
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (generated, after) = rest.split_once(END).unwrap();
    let expected = format!("\n{}\n\n", expected.trim());
    if generated == expected {
        return;
    }
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        let page = format!("{before}{BEGIN}{expected}{END}{after}");
        return std::fs::write(&path, page).unwrap();
    }
    panic!(
        "docs/{name} is not what the code says; `UPDATE_EXPECTED=1 cargo test -p plimsoll-control --lib` writes it anew"
    );
}
