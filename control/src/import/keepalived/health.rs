//! keepalived's checkers as the keys of `health:`.
//! Checks nothing; what has no key is told by whom the statement belongs to.

use std::fmt::Write as _;
use std::time::Duration;

use super::address;
use super::tree::Statement;
use super::words::Word;
use crate::config::diagnostics::Problem;
use crate::config::leaf::print_duration;

/// The settings that a virtual server, a real server and a checker share; the inner one's counts.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Timing {
    connect_timeout: Option<Duration>,
    retry: Option<u32>,
    delay_loop: Option<Duration>,
}

impl Timing {
    /// Takes a statement if it is one of these.
    pub(super) fn take(&mut self, statement: &Statement) -> Option<Result<(), Problem>> {
        let word = || {
            let keyword = &statement.keyword;
            statement.words.first().ok_or_else(|| lacks_value(keyword))
        };
        let time = || word().and_then(address::timer);
        let done = match statement.keyword.text.as_str() {
            "connect_timeout" => time().map(|time| self.connect_timeout = Some(time)),
            "delay_loop" => time().map(|time| self.delay_loop = Some(time)),
            // The second is what HTTP checks called it.
            "retry" | "nb_get_retry" => word()
                .and_then(|word| address::number(word, 0, i32::MAX.unsigned_abs(), "a number"))
                .map(|retry| self.retry = Some(retry)),
            _ => return None,
        };
        Some(done)
    }

    fn or(self, outer: Self) -> Self {
        Self {
            connect_timeout: self.connect_timeout.or(outer.connect_timeout),
            retry: self.retry.or(outer.retry),
            delay_loop: self.delay_loop.or(outer.delay_loop),
        }
    }
}

/// A statement without what should follow its keyword.
pub(super) fn lacks_value(keyword: &Word) -> Problem {
    keyword
        .problem(format!("`{}` lacks its value", keyword.shown()))
        .help("expected it on the same line")
}

/// A checker that has a counterpart.
#[derive(Debug, Clone)]
pub(super) struct Check {
    kind: &'static str,
    timing: Timing,
    path: Option<String>,
    expect: Option<u32>,
}

/// What a checker is.
pub(super) enum Kind {
    /// It becomes a check.
    Known(&'static str),
    /// There is no such check.
    Other,
}

/// Whether a keyword is a checker's.
pub(super) fn kind(keyword: &str) -> Option<Kind> {
    Some(match keyword {
        "TCP_CHECK" => Kind::Known("tcp"),
        "UDP_CHECK" => Kind::Known("udp"),
        "PING_CHECK" => Kind::Known("ping"),
        "HTTP_GET" => Kind::Known("http"),
        "SSL_GET" => Kind::Known("https"),
        "SMTP_CHECK" | "DNS_CHECK" | "MISC_CHECK" | "BFD_CHECK" | "FILE_CHECK" => Kind::Other,
        _ => return None,
    })
}

impl Check {
    /// Reads a checker's block; `lost` is told what has no key, `wrong` what cannot be read.
    pub(super) fn read(
        kind: &'static str,
        block: &[Statement],
        lost: &mut dyn FnMut(&Word),
        wrong: &mut dyn FnMut(Problem),
    ) -> Self {
        let mut check = Self {
            kind,
            timing: Timing::default(),
            path: None,
            expect: None,
        };
        let http = matches!(kind, "http" | "https");
        let mut urls = 0;
        for statement in block {
            if let Some(done) = check.timing.take(statement) {
                done.unwrap_or_else(&mut *wrong);
            } else if http && statement.keyword.text == "url" {
                urls += 1;
                if urls > 1 {
                    lost(&statement.keyword);
                } else {
                    check.url(statement.block.as_deref().unwrap_or_default(), lost);
                }
            } else {
                lost(&statement.keyword);
            }
        }
        check
    }

    fn url(&mut self, block: &[Statement], lost: &mut dyn FnMut(&Word)) {
        for Statement { keyword, words, .. } in block {
            match (keyword.text.as_str(), words.as_slice()) {
                ("path", [path]) => self.path = Some(path.text.clone()),
                ("status_code", [code]) => match code.text.parse() {
                    Ok(code @ 100..=599) => self.expect = Some(code),
                    _ => lost(keyword),
                },
                _ => lost(keyword),
            }
        }
    }

    /// The value of `health:`, with what is set outside of the checker and keepalived's defaults.
    pub(super) fn keys(&self, real: Timing, service: Timing) -> String {
        let timing = self.timing.or(real).or(service);
        let mut text = format!("{{ type: {}", self.kind);
        if let Some(path) = &self.path {
            // JSON's strings are YAML's quoted ones.
            let _ = write!(text, ", path: {}", serde_json::Value::from(path.as_str()));
        }
        if let Some(expect) = self.expect {
            let _ = write!(text, ", expect: {expect}");
        }
        let interval = timing.delay_loop.unwrap_or(Duration::from_secs(60));
        let timeout = timing.connect_timeout.unwrap_or(Duration::from_secs(5));
        // The first failure is not a retry.
        let fall = timing.retry.unwrap_or(1).saturating_add(1);
        let _ = write!(
            text,
            ", interval: {}, timeout: {}, rise: 1, fall: {fall} }}",
            print_duration(interval),
            print_duration(timeout)
        );
        text
    }
}
