//! Bugs of streams that were found by playing random programs beside Node and fixed, each with what it did; at the end
//! what no other test would have noticed.

mod support;

use std::cell::RefCell;
use std::io::Write;
use std::rc::Rc;

use nodeloop::stream::{
    Duplex, DuplexOptions, FinishedOptions, Readable, ReadableOptions, TransformOptions,
    WritableOptions, finished, pipeline,
};
use nodeloop::{Loop, net};
use support::*;

/// It flowed no more, and never ended: the tick that sees that nobody listens to 'readable' any more came behind
/// that of `resume`.
#[test]
fn a_stream_that_its_only_reader_resumes_flows() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let mut chunks = vec!["b", "a"];
    let stream = Readable::new(&lp, move |stream, _| match chunks.pop() {
        Some(chunk) => drop(stream.push(chunk)),
        None => stream.push_end(),
    });
    stream.once_readable(|stream| stream.resume());
    stream.on_resume(log.noting("resume"));
    stream.on_end(log.noting("end"));
    lp.run().unwrap();
    log.expect(&["resume", "end"]);
}

/// The same of a socket.
#[test]
fn a_socket_that_its_only_reader_resumes_flows() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let server = net::create_server(&lp, |socket| {
        socket.end_with("hello");
        socket.resume();
    });
    server.listen(any_port()).unwrap();
    let client = net::connect(&lp, server.address().unwrap());
    client.once_readable(|client| client.resume());
    client.on_end(log.noting("end"));
    client.on_close(move |_, _| server.close());
    lp.run().unwrap();
    log.expect(&["end"]);
}

/// One that was there for once went without a trace if others stayed.
#[test]
fn a_reader_for_once_among_others_has_resume_come() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let stream = Duplex::pass_through(&lp);
    stream.on_readable(log.noting("readable"));
    stream.once_readable(log.noting("once"));
    stream.on_data(|_, _| {});
    stream.on_resume(log.noting("resume"));
    lp.set_timeout_once(1, move |_| assert!(stream.write("a")));
    lp.run().unwrap();
    log.expect(&["readable", "once", "resume"]);
}

/// It had Node's usual mark, so that a write that nobody takes told that there is room.
#[test]
fn a_transform_that_buffers_nothing_behind_it_buffers_nothing_in_front() {
    let lp = Loop::new().unwrap();
    let marked = |options: TransformOptions| options.create(&lp).writable_high_water_mark();
    let nothing = || TransformOptions::new().readable_high_water_mark(0);
    assert_eq!(marked(nothing()), 0);
    assert_eq!(marked(nothing().writable_high_water_mark(5)), 5);
    let before = TransformOptions::new().writable_high_water_mark(5);
    assert_eq!(marked(before.readable_high_water_mark(0)), 5);
    let duplex = DuplexOptions::new().readable_high_water_mark(0).create(&lp);
    assert_ne!(duplex.writable_high_water_mark(), 0);
}

/// It was told that the stream had closed before its time.
#[test]
fn finished_is_content_with_an_end_whose_writes_destroy_threw_away() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let kept = Rc::new(RefCell::new(None));
    let answer = kept.clone();
    let stream = WritableOptions::new()
        .construct(move |_, done| *answer.borrow_mut() = Some(done))
        .create(&lp);
    stream.keep();
    stream.write("a");
    stream.end();
    stream.destroy();
    lp.set_timeout_once(1, move |_| kept.take().unwrap().ok());
    lp.run().unwrap();
    let _watch = finished(&stream, FinishedOptions::new(), log.done("finished"));
    lp.run().unwrap();
    log.expect(&["finished ok"]);
}

/// It counted as read.
#[test]
fn what_is_taken_after_close_is_not_read() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let stream = ReadableOptions::new().create(&lp);
    stream.keep();
    stream.push("a");
    stream.destroy();
    lp.run().unwrap();
    assert_eq!(stream.read(1).as_deref(), Some(&b"a"[..]));
    assert!(!stream.readable_did_read());
}

/// The source was asked for more before its listeners had what was pushed: once more than in Node where they
/// destroy it.
#[test]
fn more_is_asked_for_behind_what_was_pushed() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let asked = log.clone();
    let source = Readable::new(&lp, move |_, _| asked.note("asked"));
    let ended = Duplex::pass_through(&lp);
    ended.end();
    lp.run().unwrap();
    pipeline(&source, &[], &ended, log.done("pipeline"));
    lp.set_timeout_once(1, move |_| assert!(source.push("a")));
    lp.run().unwrap();
    log.expect(&["asked", "pipeline ERR_STREAM_WRITE_AFTER_END"]);
}

/// What is held back before it is delivered is asked for more behind, too, up to the mark.
#[test]
fn more_is_asked_for_behind_what_a_pause_held_back() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let asked = log.clone();
    let source = Readable::new(&lp, move |_, _| asked.note("asked"));
    source.on_data(log_data(&log));
    lp.set_timeout_once(1, move |_| {
        assert!(source.push("a"));
        source.pause();
    });
    lp.run().unwrap();
    log.expect(&["asked", "asked"]);
    assert_eq!(source.readable_length(), 1);
}

/// The completion came first, since its tick was queued before anybody had what came out.
#[test]
fn what_comes_out_of_a_transform_goes_on_before_its_write_is_done() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (first, second) = (Duplex::pass_through(&lp), Duplex::pass_through(&lp));
    first.pipe(second);
    second.on_readable(log.noting("readable"));
    let done = log.done("write");
    lp.set_timeout_once(1, move |_| assert!(first.write_then("a", done)));
    lp.run().unwrap();
    log.expect(&["readable", "write ok"]);
}

/// It stayed paused: the ticks behind the listeners that are there for one emission came in front of all that the
/// first of them leaves, not each behind its own.
#[test]
fn a_reader_for_once_is_off_behind_what_those_before_it_leave() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let stream = ReadableOptions::new().create(&lp);
    stream.on_data(log_data(&log));
    stream.once_readable(|stream| {
        stream.event_loop().next_tick(move |_| stream.pause());
    });
    stream.once_readable(|_| {});
    lp.set_timeout_once(1, move |_| assert!(stream.push("a")));
    lp.run().unwrap();
    log.expect(&["a"]);
    assert_eq!(stream.readable_flowing(), Some(true));
}

/// The same of a socket: what its first reader asks for on a tick came too late.
#[test]
fn a_reader_of_a_socket_for_once_is_off_behind_what_those_before_it_leave() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (socket, mut peer) = pair(&lp);
    let noted = log.clone();
    socket.on_readable(move |socket| {
        socket.resume();
        let noted = noted.clone();
        socket.event_loop().next_tick(move |_| {
            noted.note(socket.is_paused());
            socket.destroy();
        });
    });
    socket.once_readable(|_| {});
    peer.write_all(b"a").unwrap();
    lp.run().unwrap();
    log.expect(&["true"]);
}

/// It came in between, behind what the first of those that had waited brought: two answers were mistaken for
/// each other.
#[test]
fn a_write_is_done_behind_all_that_waited_for_it() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let kept = Rc::new(RefCell::new(None));
    let (first, mut is_first) = (kept.clone(), true);
    let stream = TransformOptions::new()
        .transform(move |_, chunk, done| match std::mem::take(&mut is_first) {
            true => *first.borrow_mut() = Some(done),
            false => done.push(chunk),
        })
        .create(&lp);
    stream.on_data(log_data(&log));
    for chunk in ["a", "b", "c"] {
        stream.write_then(chunk, log.done(chunk));
    }
    lp.set_timeout_once(1, move |_| {
        if let Some(done) = kept.take() {
            done.push("a");
        }
    });
    lp.run().unwrap();
    log.expect(&["a", "b", "c", "a ok", "b ok", "c ok"]);
}

/// 'finish' came first.
#[test]
fn an_end_that_final_pushes_comes_before_finish() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let stream = DuplexOptions::new()
        .read(|_, _| {})
        .finalize(|stream, done| {
            stream.push("last");
            stream.push_end();
            done.ok();
        })
        .create(&lp);
    stream.on_data(log_data(&log));
    stream.on_end(log.noting("end"));
    stream.on_finish(log.noting("finish"));
    lp.set_timeout_once(1, move |_| stream.end());
    lp.run().unwrap();
    log.expect(&["last", "end", "finish"]);
}

/// It finished nevertheless.
#[test]
fn a_stream_that_is_destroyed_by_what_final_pushes_does_not_finish() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let stream = DuplexOptions::new()
        .read(|_, _| {})
        .finalize(|stream, done| {
            stream.push("last");
            done.ok();
        })
        .create(&lp);
    stream.on_data(|stream, _| stream.destroy());
    stream.on_finish(log.noting("finish"));
    stream.on_close(log.noting("close"));
    lp.set_timeout_once(1, move |_| stream.end());
    lp.run().unwrap();
    log.expect(&["close"]);
}

/// It was destroyed before.
#[test]
fn a_final_that_pushes_and_fails_is_told_behind_what_it_has_pushed() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let stream = DuplexOptions::new()
        .read(|_, _| {})
        .finalize(|stream, done| {
            stream.push("last");
            done.fail("no room");
        })
        .create(&lp);
    let ticks = log.clone();
    stream.on_data(move |stream, _| stream.event_loop().next_tick(ticks.noting("tick")));
    stream.on_error(log_error(&log));
    lp.set_timeout_once(1, move |_| stream.end());
    lp.run().unwrap();
    log.expect(&["tick", "no room"]);
}

/// Its completion came before the ticks of who had got what it had pushed.
#[test]
fn a_write_that_pushes_and_fails_is_told_behind_what_it_has_pushed() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let stream = DuplexOptions::new()
        .read(|_, _| {})
        .write(|stream, chunk, done| {
            stream.push(chunk);
            done.fail("no room");
        })
        .create(&lp);
    let ticks = log.clone();
    stream.on_data(move |stream, _| stream.event_loop().next_tick(ticks.noting("tick")));
    stream.on_error(log_error(&log));
    let done = log.done("write");
    lp.set_timeout_once(1, move |_| assert!(stream.write_then("a", done)));
    lp.run().unwrap();
    log.expect(&["tick", "write no room", "no room"]);
}

/// It came behind 'finish', and behind whatever else waited.
#[test]
fn what_a_completion_pushes_is_delivered_next() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let other = ReadableOptions::new().create(&lp);
    other.on_data(log_data(&log));
    let stream = WritableOptions::new().create(&lp);
    stream.on_finish(log.noting("finish"));
    lp.set_timeout_once(1, move |_| {
        stream.end_then(move |_| assert!(other.push("pushed")));
    });
    lp.run().unwrap();
    log.expect(&["pushed", "finish"]);
}

/// It came a tick late.
#[test]
fn an_error_that_destroys_nothing_is_told_as_soon_as_its_cause_has_returned() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let source = ReadableOptions::new().auto_destroy(false).create(&lp);
    source.on_error(log_error(&log));
    let kept = Rc::new(RefCell::new(None));
    let answer = kept.clone();
    let sink = WritableOptions::new()
        .auto_destroy(false)
        .write(move |_, _, done| *answer.borrow_mut() = Some(done))
        .create(&lp);
    sink.write("a");
    sink.on_error(log_error(&log));
    let tick = log.clone();
    lp.set_timeout_once(1, move |timer| {
        let noting = tick.noting("tick");
        nodeloop::AsLoop::event_loop(&timer).next_tick(noting);
        source.push_end();
        source.push("a");
        if let Some(done) = kept.take() {
            done.fail("no room");
        }
    });
    lp.run().unwrap();
    log.expect(&["stream.push() after EOF", "no room", "tick"]);
}

/// The one of them that comes on a tick was told instead.
#[test]
fn of_two_errors_that_destroy_nothing_the_one_that_comes_at_once_is_told() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let stream = DuplexOptions::new()
        .auto_destroy(false)
        .read(|_, _| {})
        .create(&lp);
    stream.on_error(log_error(&log));
    let done = log.done("write");
    lp.set_timeout_once(1, move |_| {
        stream.end();
        stream.push_end();
        assert!(!stream.write_then("late", done));
        stream.push("late");
    });
    lp.run().unwrap();
    log.expect(&[
        "stream.push() after EOF",
        "write ERR_STREAM_WRITE_AFTER_END",
    ]);
}

fn log_data<S>(log: &Recorder) -> impl FnMut(S, &[u8]) + 'static {
    let log = log.clone();
    move |_, chunk| log.note(String::from_utf8_lossy(chunk))
}

fn log_error<S>(log: &Recorder) -> impl FnMut(S, &nodeloop::Error) + 'static {
    let log = log.clone();
    move |_, error| log.note(error.message())
}

/// It came behind what waited already: here behind the completion, which tells of it first in every other case.
#[test]
fn what_a_listener_that_panics_has_pushed_comes_at_once() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let stream = DuplexOptions::new()
        .writable_high_water_mark(1)
        .read(|_, _| {})
        .write(|_, _, done| done.ok())
        .create(&lp);
    stream.on_data(log_data(&log));
    lp.run().unwrap();
    stream.on_drain(|stream| {
        stream.push("pushed");
        panic!("a bug");
    });
    stream.write_then("a", log.done("written"));
    assert_eq!(caught(|| lp.run()), "a bug");
    lp.run().unwrap();
    log.expect(&["pushed", "written ok"]);
}

/// It was never asked again, and the stream never closed.
#[test]
fn a_source_that_panics_fails_its_stream() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let mut chunks = ["a", "b"].into_iter();
    let source = Readable::new(&lp, move |stream, _| {
        let chunk = chunks.next().expect("there is one more");
        stream.push(chunk);
        // It has answered: that loses nothing.
        assert_ne!(chunk, "a", "a bug behind the answer");
    });
    let sink = WritableOptions::new()
        .write(|_, _, done| done.ok())
        .create(&lp);
    source.on_data(log_data(&log));
    pipeline(&source, &[], &sink, log.done("pipeline"));
    assert!(caught(|| lp.run()).contains("a bug behind the answer"));
    assert_eq!(caught(|| lp.run()), "there is one more");
    lp.run().unwrap();
    log.expect(&["a", "b", "pipeline ECANCELED"]);
    assert!(source.closed() && sink.closed());
}

/// A source that is pushed to from outside.
fn pushed_to(lp: &Loop) -> Readable {
    Readable::new(lp, |_, _| {})
}

#[test]
fn what_is_unshifted_while_it_flows_comes_next() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let stream = pushed_to(&lp);
    let inner = log.clone();
    stream.on_data(move |stream, chunk| {
        inner.note(String::from_utf8_lossy(chunk));
        if chunk == b"1" {
            stream.unshift("U");
        }
    });
    lp.set_timeout_once(5, move |_| {
        for chunk in ["1", "2", "3"] {
            stream.push(chunk);
        }
    });
    turn_until(&lp, || log.has("3"));
    log.expect(&["1", "U", "2", "3"]);
}

#[test]
fn what_a_pause_holds_back_keeps_its_order() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let stream = pushed_to(&lp);
    let inner = log.clone();
    stream.on_data(move |stream, chunk| {
        inner.note(String::from_utf8_lossy(chunk));
        if chunk == b"1" {
            stream.pause();
        }
    });
    lp.set_timeout_once(5, move |_| {
        for chunk in ["1", "2", "3"] {
            stream.push(chunk);
        }
    });
    turn_until(&lp, || log.has("1"));
    stream.resume();
    turn_until(&lp, || log.has("3"));
    log.expect(&["1", "2", "3"]);
}

#[test]
fn a_construct_that_fails_behind_destroy_is_told() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let stream = WritableOptions::new()
        .construct(|stream, done| {
            let lp = stream.event_loop();
            lp.set_timeout_once(5, move |_| done.fail("construct"));
        })
        .write(|_, _, done| done.ok())
        .create(&lp);
    let inner = log.clone();
    stream.on_error(move |_, error| inner.note(error));
    stream.on_close(log.noting("close"));
    stream.destroy();
    lp.run().unwrap();
    log.expect(&["construct", "close"]);
}

#[test]
fn what_waits_behind_a_write_that_fails_fails_too_and_counts_no_more() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let stream = WritableOptions::new()
        .auto_destroy(false)
        .write(|stream, _, done| {
            let lp = stream.event_loop();
            lp.set_timeout_once(5, move |_| done.fail("no"));
        })
        .create(&lp);
    let inner = log.clone();
    stream.on_error(move |_, error| inner.note(format!("error {error}")));
    stream.on_finish(log.noting("finish"));
    stream.on_close(log.noting("close"));
    let told = |name: &'static str| {
        let log = log.clone();
        move |result: nodeloop::Result<()>| log.note(format!("{name} {}", result.unwrap_err()))
    };
    stream.write_then("a", told("a"));
    stream.write_then("b", told("b"));
    stream.end_then(told("end"));
    turn_until(&lp, || log.has("error no"));
    log.expect(&["a no", "b no", "end no", "error no"]);
    assert_eq!(stream.writable_length(), 0);
}

#[test]
fn a_destroyed_stream_neither_pauses_nor_resumes() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let stream = pushed_to(&lp);
    stream.on_resume(log.noting("resume"));
    stream.on_pause(log.noting("pause"));
    stream.on_close(log.noting("close"));
    stream.destroy();
    stream.resume();
    stream.pause();
    assert_eq!(stream.readable_flowing(), None);
    lp.run().unwrap();
    log.expect(&["close"]);
}
