//! Values with names, and a macro for enumerations of which lists are made: every variant, and every variant's name.
//! No enumeration is declared here.

/// A value that files, rules, listings and JSON know by its name.
pub trait Listed: Copy + 'static {
    /// Every name's value. What has settings besides its name has the usual ones.
    const LIST: &'static [Self];

    /// Its name.
    fn name(self) -> &'static str;

    /// The value of a name.
    #[must_use]
    fn by_name(name: &str) -> Option<Self> {
        Self::LIST.iter().copied().find(|one| one.name() == name)
    }
}

/// Declares an enumeration without fields together with `COUNT`, `ALL` (every variant, in the order of their
/// declaration) and `name`. A list that is written beside the enumeration misses the next variant without a
/// word; this one cannot.
///
/// ```
/// plimsoll_dataplane::listed! {
///     /// The primary colours.
///     #[derive(Debug, Clone, Copy, PartialEq, Eq)]
///     pub enum Colour {
///         /// Red.
///         Red => "red",
///         /// Green, with a number of its own.
///         Green = 7 => "green",
///     }
/// }
/// assert_eq!(Colour::ALL, [Colour::Red, Colour::Green]);
/// assert_eq!(Colour::ALL.map(Colour::name), ["red", "green"]);
/// ```
#[macro_export]
macro_rules! listed {
    (
        $(#[$meta:meta])*
        $visibility:vis enum $enum:ident {
            $($(#[$variant_meta:meta])* $variant:ident $(= $number:literal)? => $name:literal,)+
        }
    ) => {
        $(#[$meta])*
        $visibility enum $enum {
            $($(#[$variant_meta])* $variant $(= $number)?,)+
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
        }

        impl $crate::listed::Listed for $enum {
            const LIST: &'static [Self] = &Self::ALL;

            fn name(self) -> &'static str {
                Self::name(self)
            }
        }
    };
}
