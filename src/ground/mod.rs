//! The ground floor: data structures and values that know nothing of the loop.
//!
//! Everything here is pure and is tested without a loop, a socket or a clock.

pub(crate) mod addresses;
pub(crate) mod block_list;
pub(crate) mod block_list_text;
pub(crate) mod chunk;
pub(crate) mod duration_lists;
pub(crate) mod duration_table;
pub(crate) mod encoding;
pub(crate) mod error;
pub(crate) mod error_codes;
pub(crate) mod gather;
pub(crate) mod large_buffer;
pub(crate) mod lines;
pub(crate) mod list_heap;
pub(crate) mod listeners;
pub(crate) mod look_up;
pub(crate) mod millis;
pub(crate) mod mutations;
pub(crate) mod payload;
pub(crate) mod quick_hash;
pub(crate) mod read_queue;
pub(crate) mod spare;
pub(crate) mod stream_errors;
pub(crate) mod string_decoder;
pub(crate) mod tick_queue;
pub(crate) mod timer_lists;
pub(crate) mod write_queue;
