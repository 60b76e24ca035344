//! The way from a sequential server to MetricStream, one runnable stage after the other.
//!
//! Each stage is a small whole server that changes one thing about the one before; the last is the product.
//! Promises: every stage answers the same requests over the same wire and none waits on purpose, so what is
//! measured is what the design costs. Leaves to the caller: to put any stage but the last to work. The
//! chapters are in `docs/journey`.
//!
//! In reading order: [`catalog`] says what the stages are, [`stages`] has them; [`wire`] and [`common`] are
//! what they share, [`naive`] is the parser of the first three. [`run`](mod@run) measures, [`report`] and
//! [`plot`] tell, [`profile`] looks into one stage, [`parser_cost`] counts instructions, [`lesson`] is the
//! frame of the examples.

pub mod catalog;
pub mod cli;
pub mod common;
pub mod lesson;
pub mod naive;
pub mod parser_cost;
pub mod plot;
pub mod profile;
pub mod report;
pub mod run;
pub mod stages;
pub mod wire;
