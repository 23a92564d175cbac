//! The smallest scenario that still differs.

use super::document::Document;
use super::judge::{Judge, Verdict};

/// How many attempts at less are made at most.
const ATTEMPTS: usize = 250;

/// Takes away what can be taken away; gives what still differs, and how.
pub fn shrink(judge: &mut Judge, document: &Document, rows: String) -> (Document, String) {
    let mut smallest = document.clone();
    // What is left may end at no event any more: then it waits for its deadline.
    for line in &mut smallest.head {
        if line.starts_with("deadline = ") {
            *line = "deadline = 1500".into();
        }
    }
    let mut attempts = 0;
    'again: while attempts < ATTEMPTS {
        for less in smallest.smaller() {
            attempts += 1;
            if attempts > ATTEMPTS {
                break 'again;
            }
            if judge.may_differ(&less) {
                smallest = less;
                continue 'again;
            }
        }
        break;
    }
    // It was looked at once; with as much care as the whole it may be nothing.
    match judge.judge(&smallest) {
        Verdict::Differs(rows) => (smallest, rows),
        _ => (document.clone(), rows),
    }
}
