//! Texts that nobody means: they are refused in bounded time, with a report, and nothing makes the reader panic.

use proptest::prelude::*;

use super::*;

#[test]
fn aliases_that_stand_for_billions_are_refused_at_once() {
    let mut text = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for name in 'b'..'z' {
        let before = char::from_u32(u32::from(name) - 1).unwrap();
        let nine = vec![format!("*{before}"); 9].join(", ");
        text.push_str(&format!("{name}: &{name} [{nine}]\n"));
    }
    assert!(config::parse("test", text).is_err());
}

#[test]
fn deep_nesting_does_not_end_the_stack() {
    for part in ["[", "{a: ", "- ", "? ", "[{a: "] {
        assert!(
            config::parse("test", part.repeat(100_000)).is_err(),
            "{part}"
        );
    }
}

#[test]
fn garbage_of_many_values_is_refused_before_memory_is_spent_on_it() {
    for text in [
        "[".to_owned() + &"a,".repeat(4 << 20),
        "- a\n".repeat(4 << 20),
    ] {
        let errors = config::parse("test", text).unwrap_err();
        assert!(
            errors.items()[0].message.contains("far more values"),
            "{}",
            errors.report(false)
        );
    }
}

/// Cuts, doubles and replaces pieces of a sample.
fn mutated() -> impl Strategy<Value = String> {
    let texts: Vec<String> = samples().into_iter().map(|(_, text)| text).collect();
    let piece = prop_oneof![
        Just(String::new()),
        "[-\\[\\]{}:,&*#?|>'\"%@`!~ \n\t0-9a-z/.]{1,3}",
        Just("\n  - ".to_owned()),
        Just("null".to_owned()),
        Just(": ".to_owned()),
        Just("99999999999999999999".to_owned()),
        "\\PC{1,2}",
    ];
    let edit = (any::<prop::sample::Index>(), 0usize..20, piece);
    (
        prop::sample::select(texts),
        prop::collection::vec(edit, 1..6),
    )
        .prop_map(|(text, edits)| {
            let mut chars: Vec<char> = text.chars().collect();
            for (at, cut, piece) in edits {
                let at = at.index(chars.len().max(1)).min(chars.len());
                let end = (at + cut).min(chars.len());
                chars.splice(at..end, piece.chars());
            }
            chars.into_iter().collect()
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_mutated_sample_is_valid_or_reported(text in mutated()) {
        match config::parse("test", text.as_str()) {
            Ok(loaded) => prop_assert_eq!(&*loaded.text, text.as_str()),
            Err(errors) => {
                prop_assert!(errors.errors() > 0);
                prop_assert!(!errors.report(true).is_empty());
                prop_assert_eq!(&errors.to_json()["valid"], false);
                let lines = u32::try_from(text.lines().count()).unwrap() + 1;
                prop_assert!(errors.items().iter().all(|item| item.line.is_none_or(|line| line <= lines)));
            }
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC*|[-\\[\\]{}:,&*#?|>'\"%!~ \n\t\ra]{0,60}") {
        if let Err(errors) = config::parse("test", text.as_str()) {
            prop_assert!(!errors.report(false).is_empty());
        }
    }
}
