//! What a worker remembers: sessions, their protocols' states and when they end.
//! Nothing here schedules, rewrites packets or knows a configuration.

mod advance;
mod answered;
mod entry;
mod evict;
mod hash;
pub mod proof;
mod reply;
pub mod sctp;
mod size;
mod state;
mod table;
mod tags;
pub mod tcp;
mod template;
mod timeout;
mod wheel;
pub mod worth;

pub use advance::{Counted, Moved, Step};
pub use entry::{Flags, NewSession, Numbers, Session, SessionIndex};
pub use evict::{EvictionPolicy, EvictionTerms, MayEvict};
pub use hash::{KeyHash, ReplyHash};
pub use sctp::SctpState;
pub use size::table_bytes;
pub use state::{Phase, State};
pub use table::{Gone, Hint, SessionTable, TableFull};
pub use tcp::{Direction, TcpState};
pub use template::NewTemplate;
pub use timeout::Timeouts;
pub use worth::{Cause, Worth};
