//! Values with names, and a macro for enumerations of which lists are made: every variant, and every variant's name.
//! No enumeration is declared here.

/// A value that files, rules, listings and JSON know by its name.
pub trait Listed: Copy + 'static {
    /// Every name's value. What has settings besides its name has the usual ones.
    const LIST: &'static [Self];

    /// Its name.
    fn name(self) -> &'static str;

    /// What it means, as its declaration says; empty if that says nothing.
    #[must_use]
    fn about(self) -> &'static str {
        ""
    }

    /// The value of a name.
    #[must_use]
    fn by_name(name: &str) -> Option<Self> {
        Self::LIST.iter().copied().find(|one| one.name() == name)
    }
}

/// Declares an enumeration without fields together with `COUNT`, `ALL` (every variant, in the order of their
/// declaration), `name`, and what each means. `default` behind a name stands for `#[default]`. A list that is written
/// beside the enumeration misses the next variant without a word; this one cannot.
///
/// ```
/// plimsoll_dataplane::listed! {
///     /// The primary colours.
///     #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
///     pub enum Colour {
///         /// Red.
///         Red => "red" default,
///         /// Green, with a number of its own.
///         Green = 7 => "green",
///     }
/// }
/// assert_eq!(Colour::ALL, [Colour::Red, Colour::Green]);
/// assert_eq!(Colour::ALL.map(Colour::name), ["red", "green"]);
/// assert_eq!(Colour::default(), Colour::Red);
/// # use plimsoll_dataplane::listed::Listed as _;
/// assert_eq!(Colour::Red.about(), "Red.");
/// ```
#[macro_export]
macro_rules! listed {
    (
        $(#[$meta:meta])*
        $visibility:vis enum $enum:ident {
            $(
                $(#[doc = $about:literal])*
                $variant:ident $(= $number:literal)? => $name:literal $($default:ident)?,
            )+
        }
    ) => {
        $(#[$meta])*
        $visibility enum $enum {
            $($(#[doc = $about])* $(#[$default])? $variant $(= $number)?,)+
        }

        impl $enum {
            /// How many variants there are.
            pub const COUNT: usize = [$($name),+].len();

            /// Every variant, in the order of their declaration.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$variant),+];

            /// Its name, for people and files.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The variant with this discriminant; the first one if none has it.
            #[must_use]
            #[inline(always)]
            pub const fn of_discriminant(number: u8) -> Self {
                match number {
                    $(number if number == Self::$variant as u8 => Self::$variant,)+
                    _ => Self::ALL[0],
                }
            }
        }

        impl $crate::listed::Listed for $enum {
            const LIST: &'static [Self] = &Self::ALL;

            fn name(self) -> &'static str {
                Self::name(self)
            }

            fn about(self) -> &'static str {
                match self { $(Self::$variant => concat!($($about),*).trim_ascii(),)+ }
            }
        }
    };
}
