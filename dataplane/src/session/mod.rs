//! What a worker remembers: sessions, their protocols' states and when they end.
//! Nothing here schedules, rewrites packets or knows a configuration.

mod advance;
mod entry;
mod evict;
mod failed;
mod hash;
mod phase;
pub mod proof;
mod reply;
mod reply_conflict;
pub mod sctp;
mod side;
mod size;
mod state;
mod table;
mod tags;
pub mod tcp;
mod template;
mod terms;
mod timeout;
mod wheel;
pub mod worth;

pub use advance::{Counted, Moved, Step};
pub use entry::{Flags, NewSession, Session, SessionIndex};
pub use hash::{KeyHash, ReplyHash};
pub use phase::{Direction, Phase};
pub use sctp::SctpState;
pub use side::Numbers;
pub use size::table_bytes;
pub use state::State;
pub use table::{Hint, SessionTable};
pub use tcp::TcpState;
pub use template::NewTemplate;
pub use terms::{EvictionPolicy, EvictionTerms, Gone, MayEvict, TableFull};
pub use worth::Worth;
