//! The fast path: plain packets of established sessions, over a whole burst at once.
//! It refuses nothing and answers nothing: whatever is unusual is left to the other rooms.

pub(crate) mod established;
