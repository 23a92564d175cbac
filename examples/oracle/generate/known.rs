//! Where a generated scenario may differ from Node's: what is meant, each with its reason, and how it
//! is recognised. What is not here is a difference that nobody has explained.

use crate::oracle::check::Writes;
use crate::oracle::scenario::{Action, Scenario};

/// A difference that is meant.
struct Known {
    /// As in DIFFERENCES.md.
    reason: &'static str,
    /// Takes it out of Node's trace and ours.
    level: fn(&Scenario, Writes, &mut Vec<String>, &mut Vec<String>),
}

/// Node leaves the connection open: then it may never end.
pub const RESET_BEHIND_END: &str = "`reset_and_destroy` behind an `end` that is not done resets; Node fails with EINVAL, \
     never emits 'close', and leaves the connection to the garbage collector";

/// Whether that was so in Node.
pub fn was_reset_behind_end(theirs: &[String]) -> bool {
    theirs
        .iter()
        .any(|line| line.contains(" error EINVAL syscall=reset "))
}

const KNOWN: [Known; 9] = [
    Known {
        reason: "options of a closed socket are ERR_SOCKET_DGRAM_NOT_RUNNING, where Node stumbles over null",
        level: |_, _, theirs, ours| {
            for (one, two) in theirs.iter_mut().zip(ours) {
                let stumbles = one.contains("throws error \"Cannot read properties of null")
                    || one.contains("disconnect throws ERR_SOCKET_DGRAM_NOT_CONNECTED")
                    || one.contains("connect throws ERR_SOCKET_DGRAM_IS_CONNECTED");
                if stumbles && two.contains(" throws ERR_SOCKET_DGRAM_NOT_RUNNING ") {
                    one.clone_from(two);
                }
            }
        },
    },
    Known {
        reason: "what is asked of a closed UDP socket is answered, where Node stumbles over null",
        level: |_, _, theirs, ours| {
            for (one, two) in theirs.iter_mut().zip(ours) {
                if one.replace("=throws:error", "=0") == *two {
                    one.clone_from(two);
                }
            }
        },
    },
    Known {
        reason: "a completion is always called: after `destroy` with ERR_STREAM_DESTROYED; Node never calls \
                 the callback of `end`",
        level: |_, _, theirs, ours| {
            let is_told = |line: &String| {
                line.contains(":done ERR_STREAM_DESTROYED \"Cannot call end after")
                    && !theirs.contains(line)
            };
            ours.retain(|line| !is_told(line));
        },
    },
    Known {
        reason: RESET_BEHIND_END,
        level: |_, _, theirs, ours| {
            // It shows at the other end, too.
            if was_reset_behind_end(theirs) {
                ours.clone_from(theirs);
            }
        },
    },
    Known {
        reason: "how much of what was sent reaches a peer before a reset is the kernel's, which holds small \
                 pieces back; gathered they are fewer",
        level: |_, _, theirs, ours| {
            for lines in [theirs, ours] {
                let was_reset = |line: &String| {
                    line.strip_suffix(" read_all ECONNRESET")
                        .map(str::to_string)
                };
                let peers: Vec<String> = lines.iter().filter_map(was_reset).collect();
                let is_read = |line: &String| {
                    peers
                        .iter()
                        .any(|it| line.starts_with(&format!("{it} read ")))
                };
                lines.retain(|line| !is_read(line));
            }
        },
    },
    Known {
        reason: "without a peer Node takes the callback of `send` for the port, and says so",
        level: |_, _, theirs, ours| {
            for (one, two) in theirs.iter_mut().zip(ours) {
                let text = one.replace("Received function .", "Received undefined.");
                if text == *two {
                    *one = text;
                }
            }
        },
    },
    Known {
        reason: "a write that waits for a connection fails before 'close'; in Node it fails among the \
                 listeners of 'close', at the place where the write was made",
        level: |_, _, theirs, ours| {
            for lines in [theirs, ours] {
                fail_before_close(lines);
            }
        },
    },
    Known {
        reason: "objects are freed after their last event unless `keep` holds them; in Node the garbage \
                 collector decides",
        level: |_, _, theirs, ours| {
            for (one, two) in theirs.iter_mut().zip(ours) {
                // Whatever Node tells, it tells it of the same call.
                let call = two.split_once(" ERR_HANDLE_GONE ");
                if call.is_some_and(|(call, _)| one.starts_with(call)) {
                    one.clone_from(two);
                }
            }
        },
    },
    Known {
        reason: "a small write in a callback counts as taken until the callback ends and it is sent; if \
                 that fails, the error comes then",
        level: |scenario, writes, theirs, ours| {
            let mut actions = scenario.handlers.iter().flat_map(|it| &it.actions);
            let fails = |action: &Action| {
                ["reset", "close", "reset_and_destroy", "destroy"].contains(&action.verb.as_str())
            };
            if writes == Writes::Gathered && actions.any(fails) {
                for lines in [theirs, ours] {
                    for line in lines {
                        if let Some(at) = line.find(" write returns ") {
                            line.truncate(at + " write returns ".len());
                        }
                    }
                }
            }
        },
    },
];

/// Has what waits for a connection fail in front of its socket's 'close'.
fn fail_before_close(lines: &mut Vec<String>) {
    let fails = |line: &str| line.contains(":done ERR_SOCKET_CLOSED_BEFORE_CONNECTION");
    for from in 0..lines.len() {
        if !fails(&lines[from]) {
            continue;
        }
        let object = lines[from].split(' ').next().unwrap_or_default();
        let close = format!("{object} close");
        let closes = lines[..from]
            .iter()
            .position(|line| line.starts_with(&close));
        if let Some(to) = closes {
            let line = lines.remove(from);
            lines.insert(to, line);
        }
    }
}

/// The reasons why two traces differ, if they account for all of it.
pub fn explain(
    scenario: &Scenario,
    writes: Writes,
    theirs: &[String],
    ours: &[String],
) -> Option<Vec<&'static str>> {
    let (mut theirs, mut ours) = (theirs.to_vec(), ours.to_vec());
    let mut reasons = Vec::new();
    for known in &KNOWN {
        let (before_theirs, before_ours) = (theirs.clone(), ours.clone());
        (known.level)(scenario, writes, &mut theirs, &mut ours);
        if before_theirs != theirs || before_ours != ours {
            reasons.push(known.reason);
        }
        if theirs == ours {
            return Some(reasons);
        }
    }
    None
}
