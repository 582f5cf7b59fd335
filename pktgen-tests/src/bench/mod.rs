//! Measurements of Plimsoll's parts, for reports: each returns its figures and prints nothing.
//! No figure is judged here; what is enough is for whoever reads the report.

pub mod services;
