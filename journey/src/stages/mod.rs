//! The stages. Each file opens with what it changes about the one before and what is still wrong with it.
//!
//! Promises: a stage's file is all of the stage that is its own; what it keeps it takes from the files before
//! it by name. Leaves to the caller: to end the process, for only the last stage stops in good order.

pub mod s0_sequential;
pub mod s1_thread_per_request;
pub mod s2_background_writer;
pub mod s3_state_machine;
pub mod s4_rate_limit;
pub mod s5_events;
pub mod s6_thread_pool;
pub mod s7_product;
