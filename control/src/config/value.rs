//! What the file's values are read into: each once, straight into its type, which also knows its part of the JSON Schema.
//! After a mistake it reads on as if the file said what was most likely meant, so that one slip is one report.

use plimsoll_dataplane::listed::Listed;
use serde_json::{Value as Json, json};

use super::diagnostics::{Place, Problem, Problems};
use super::leaf::Leaf;
use super::suggest;
use super::tree::{Body, Node};

/// A type that a value of the file is read into.
pub(super) trait Value: Sized {
    /// Whether what holds a wrong one cannot be read either, as no default is safe.
    const DECIDES: bool = false;
    /// What to do where nothing was written.
    const WHEN_EMPTY: &'static str = "give it a value, or remove the key";

    /// What it is, for "expected ...".
    fn expected() -> String;

    /// Its JSON Schema.
    fn schema() -> Json;

    /// Itself in JSON, for the schema's defaults; `null` has no place there.
    fn json(&self) -> Json {
        Json::Null
    }

    /// What to read on with where it must be given, and is not there or wrong, as was reported.
    fn fallback() -> Option<Self> {
        None
    }

    /// Reads `node`, which is not empty. Reports what is wrong at `place`, and is `None` then.
    fn read(node: &mut Node<'_>, place: Place, reader: &mut Reader<'_>) -> Option<Self>;
}

/// Where in the file it is, and where mistakes go.
pub(super) struct Reader<'p> {
    path: String,
    problems: &'p mut Problems,
}

impl<'p> Reader<'p> {
    pub(super) const fn new(problems: &'p mut Problems) -> Self {
        Self {
            path: String::new(),
            problems,
        }
    }

    /// Reads `node`, which `key` names in the file, and marks it if something is wrong with it.
    pub(super) fn read<T: Value>(&mut self, node: &mut Node<'_>, key: Option<Place>) -> Option<T> {
        // Where only a block's first key is known, its name above says more.
        let place = match &node.body {
            Body::Scalar { text, .. } if text.is_empty() => key.unwrap_or(node.place),
            Body::Scalar { .. } => node.place,
            Body::List(_) | Body::Map(_) => key.unwrap_or(node.place),
        };
        let value = if node.is_null() {
            let message = format!("expected {}, found nothing", T::expected());
            self.wrong(Problem::new(place, message).help(T::WHEN_EMPTY));
            None
        } else {
            T::read(node, place, self)
        };
        node.bad |= value.is_none();
        value
    }

    /// Does something below a key or item.
    pub(super) fn below<R>(&mut self, step: &str, read: impl FnOnce(&mut Self) -> R) -> R {
        let len = self.path.len();
        if len > 0 && !step.starts_with('[') {
            self.path.push('.');
        }
        self.path.push_str(step);
        let result = read(self);
        self.path.truncate(len);
        result
    }

    pub(super) fn wrong(&mut self, problem: Problem) {
        self.problems.add(problem.path(&self.path));
    }

    /// Reports that `node` is something else than a `T`.
    pub(super) fn unexpected<T: Value>(
        &mut self,
        node: &Node<'_>,
        place: Place,
        help: Option<String>,
    ) {
        let message = format!("expected {}, found {}", T::expected(), node.found());
        self.wrong(Problem::new(place, message).maybe_help(help));
    }
}

/// What stands where a text is expected; anything else is reported.
fn text<'n, T: Value>(
    node: &'n Node<'_>,
    place: Place,
    reader: &mut Reader<'_>,
) -> Option<&'n str> {
    match &node.body {
        Body::Scalar { text, .. } => Some(text),
        Body::List(_) => {
            let help = "an address in brackets needs quotes".to_owned();
            reader.unexpected::<T>(node, place, Some(help));
            None
        }
        Body::Map(_) => {
            reader.unexpected::<T>(node, place, None);
            None
        }
    }
}

impl Value for String {
    fn expected() -> String {
        "a text".to_owned()
    }

    fn schema() -> Json {
        json!({ "type": "string" })
    }

    fn json(&self) -> Json {
        self.as_str().into()
    }

    fn read(node: &mut Node<'_>, place: Place, reader: &mut Reader<'_>) -> Option<Self> {
        text::<Self>(node, place, reader).map(str::to_owned)
    }
}

impl Value for bool {
    fn expected() -> String {
        "true or false".to_owned()
    }

    fn schema() -> Json {
        json!({ "type": "boolean" })
    }

    fn json(&self) -> Json {
        (*self).into()
    }

    fn read(node: &mut Node<'_>, place: Place, reader: &mut Reader<'_>) -> Option<Self> {
        let meant = match &node.body {
            Body::Scalar { text, plain } => match (text.as_ref(), plain) {
                ("true", true) => return Some(true),
                ("false", true) => return Some(false),
                _ => match text.to_lowercase().as_str() {
                    "true" | "yes" | "on" | "y" | "1" => Some("write `true`".to_owned()),
                    "false" | "no" | "off" | "n" | "0" => Some("write `false`".to_owned()),
                    _ => None,
                },
            },
            Body::List(_) | Body::Map(_) => None,
        };
        reader.unexpected::<Self>(node, place, meant);
        None
    }
}

/// A whole number from `MIN` to `MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Within<T, const MIN: u64, const MAX: u64>(pub T);

impl<T, const MIN: u64, const MAX: u64> Value for Within<T, MIN, MAX>
where
    T: TryFrom<u64> + Into<u64> + Copy,
{
    fn expected() -> String {
        if MIN == MAX {
            return MIN.to_string();
        }
        format!("a whole number from {MIN} to {MAX}")
    }

    fn schema() -> Json {
        json!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }

    fn json(&self) -> Json {
        self.0.into().into()
    }

    fn fallback() -> Option<Self> {
        let only = T::try_from(MIN).ok().map(Self);
        only.filter(|_| MIN == MAX)
    }

    fn read(node: &mut Node<'_>, place: Place, reader: &mut Reader<'_>) -> Option<Self> {
        let (number, plain) = match &node.body {
            Body::Scalar { text, plain } => (integer(text), *plain),
            Body::List(_) | Body::Map(_) => (None, true),
        };
        let fitting = number.and_then(|number| u64::try_from(number).ok());
        let fitting = fitting.filter(|number| plain && (MIN..=MAX).contains(number));
        let value = fitting.and_then(|number| T::try_from(number).ok());
        if value.is_none() {
            let quoted = number.filter(|_| !plain);
            let help = quoted.map(|number| format!("write {number} without quotes"));
            reader.unexpected::<Self>(node, place, help);
        }
        value.map(Self)
    }
}

/// A decimal number as both YAML 1.1 and 1.2 read it: no leading zero, no -0, no
/// underscore, no fraction.
fn integer(text: &str) -> Option<i128> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let decimal = !digits.is_empty() && text != "-0" && digits.bytes().all(|b| b.is_ascii_digit());
    if decimal && (digits.len() == 1 || !digits.starts_with('0')) {
        text.parse().ok()
    } else {
        None
    }
}

/// Any number of 16 bits.
impl Value for u16 {
    fn expected() -> String {
        Within::<Self, 0, 0xffff>::expected()
    }

    fn schema() -> Json {
        Within::<Self, 0, 0xffff>::schema()
    }

    fn read(node: &mut Node<'_>, place: Place, reader: &mut Reader<'_>) -> Option<Self> {
        Within::<Self, 0, 0xffff>::read(node, place, reader).map(|number| number.0)
    }
}

impl<T: Leaf> Value for T {
    fn expected() -> String {
        format!("{} such as `{}`", T::EXPECTED, T::EXAMPLE)
    }

    fn schema() -> Json {
        let types = if T::IS_NUMBER_TOO {
            json!(["string", "integer"])
        } else {
            json!("string")
        };
        json!({ "type": types, "format": T::FORMAT, "examples": [T::EXAMPLE] })
    }

    fn json(&self) -> Json {
        self.print().into()
    }

    fn read(node: &mut Node<'_>, place: Place, reader: &mut Reader<'_>) -> Option<Self> {
        let text = text::<Self>(node, place, reader)?;
        match T::parse(text) {
            Ok(value) => Some(value),
            Err(error) => {
                let help = error.help;
                let help =
                    help.unwrap_or_else(|| format!("expected {}", <Self as Value>::expected()));
                reader.wrong(Problem::new(place, error.message).help(help));
                None
            }
        }
    }
}

/// What may be left out, and stands for itself where it is written.
impl<T: Value> Value for Option<T> {
    const DECIDES: bool = T::DECIDES;
    const WHEN_EMPTY: &'static str = T::WHEN_EMPTY;

    fn expected() -> String {
        T::expected()
    }

    fn schema() -> Json {
        T::schema()
    }

    fn json(&self) -> Json {
        self.as_ref().map_or(Json::Null, T::json)
    }

    fn read(node: &mut Node<'_>, place: Place, reader: &mut Reader<'_>) -> Option<Self> {
        T::read(node, place, reader).map(Some)
    }
}

/// What is wrong of it is left out.
impl<T: Value> Value for Vec<T> {
    const WHEN_EMPTY: &'static str = "write `[]` for an empty list, or remove the key";

    fn expected() -> String {
        "a list".to_owned()
    }

    fn schema() -> Json {
        json!({ "type": "array", "items": T::schema() })
    }

    fn json(&self) -> Json {
        self.iter().map(T::json).collect()
    }

    fn fallback() -> Option<Self> {
        Some(Self::new())
    }

    fn read(node: &mut Node<'_>, place: Place, reader: &mut Reader<'_>) -> Option<Self> {
        let Body::List(items) = &mut node.body else {
            let help = "put `- ` in front of each item, or the items in `[ ]`".to_owned();
            reader.unexpected::<Self>(node, place, Some(help));
            return None;
        };
        let item = |(at, item): (usize, &mut Node<'_>)| {
            reader.below(&format!("[{at}]"), |reader| reader.read(item, None))
        };
        Some(items.iter_mut().enumerate().filter_map(item).collect())
    }
}

fn names_of<T: Listed>() -> Vec<&'static str> {
    T::LIST.iter().map(|one| one.name()).collect()
}

/// What is expected of a value with a name.
pub(super) fn expected_name<T: Listed>() -> String {
    match names_of::<T>().as_slice() {
        [only] => format!("`{only}`"),
        names => format!("one of {}", names.join(", ")),
    }
}

/// The JSON Schema of a value with a name: each with what it means, if its declaration says so.
pub(super) fn name_schema<T: Listed>() -> Json {
    let choices = T::LIST.iter().map(|one| match one.about() {
        "" => json!({ "const": one.name() }),
        about => json!({ "const": one.name(), "description": about }),
    });
    json!({ "oneOf": choices.collect::<Json>() })
}

/// Reads a name, and takes one that is none for the one that was probably meant.
pub(super) fn named<T: Value + Listed>(
    node: &mut Node<'_>,
    place: Place,
    reader: &mut Reader<'_>,
) -> Option<T> {
    let Body::Scalar { text, .. } = &node.body else {
        reader.unexpected::<T>(node, place, None);
        return None;
    };
    if let Some(value) = T::by_name(text) {
        return Some(value);
    }
    let names = names_of::<T>();
    let meant = suggest::nearest(text, &names);
    if let (None, Some((what, nearest))) = (meant, suggest::later(text, &names)) {
        let message = format!("{what} is not supported by this version");
        let help = format!("this version supports {}", names.join(", "));
        reader.wrong(Problem::new(place, message).help(help));
        return T::by_name(nearest);
    }
    let help = meant.map(|name| format!("did you mean `{name}`?"));
    reader.unexpected::<T>(node, place, help);
    meant.and_then(T::by_name)
}

/// What types with names have in common. `decides` says whether no name is a safe default.
macro_rules! names {
    ($($type:ty: decides $decides:literal),+ $(,)?) => {$(
        impl $crate::config::value::Value for $type {
            const DECIDES: bool = $decides;

            fn expected() -> String {
                $crate::config::value::expected_name::<Self>()
            }

            fn schema() -> serde_json::Value {
                $crate::config::value::name_schema::<Self>()
            }

            fn json(&self) -> serde_json::Value {
                self.name().into()
            }

            fn read(
                node: &mut $crate::config::tree::Node<'_>,
                place: $crate::config::diagnostics::Place,
                reader: &mut $crate::config::value::Reader<'_>,
            ) -> Option<Self> {
                $crate::config::value::named(node, place, reader)
            }
        }
    )+};
}
pub(super) use names;
