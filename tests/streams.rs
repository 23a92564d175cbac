//! Streams of a program's own: what Node's streams do, and where contract rule 1 makes a difference.
//! The scenarios of tests/oracle compare them with Node event by event.

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bytes::Bytes;
use nodeloop::stream::{
    Duplex, DuplexOptions, FinishedOptions, Readable, ReadableOptions, TransformOptions, Writable,
    WritableOptions, finished,
};
use nodeloop::{Error, HandleKind, Loop};
use support::*;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// How many streams live.
fn streams(lp: &Loop) -> usize {
    let handles = lp.handles();
    let streams = handles.iter().filter(|it| it.kind == HandleKind::Stream);
    streams.count()
}

/// A source of these chunks, which then ends.
fn source(lp: &Loop, chunks: &'static [&'static str]) -> Readable {
    let mut left = chunks.iter().copied();
    Readable::new(lp, move |stream, _| match left.next() {
        Some(chunk) => drop(stream.push(chunk)),
        None => stream.push_end(),
    })
}

fn follow(log: &Recorder, stream: Readable) {
    let it = log.clone();
    stream.on_data(move |_, chunk| it.note(format!("data {}", text(chunk))));
    stream.on_end(log.noting("end"));
    stream.on_close(log.noting("close"));
}

/// A sink that answers at once, and notes what it gets.
fn noting_sink(lp: &Loop, log: &Recorder) -> Writable {
    let it = log.clone();
    let stream = Writable::new(lp, move |_, chunk, done| {
        it.note(format!("write {}", text(&chunk)));
        done.ok();
    });
    stream.on_finish(log.noting("finish"));
    stream.on_close(log.noting("close"));
    stream
}

#[test]
fn a_source_is_read_to_its_end() {
    on_every_loop(|lp| {
        let log = Recorder::new();
        let stream = source(lp, &["one", "two"]);
        follow(&log, stream);
        lp.run().unwrap();
        log.expect(&["data one", "data two", "end", "close"]);
        assert!(stream.destroyed() && !stream.readable());
    });
}

#[test]
fn a_sink_gets_one_chunk_after_the_other() {
    on_every_loop(|lp| {
        let log = Recorder::new();
        let stream = noting_sink(lp, &log);
        stream.write_then("one", log.done("first"));
        stream.write("two");
        stream.end_with("three");
        log.note("called");
        lp.run().unwrap();
        log.expect(&[
            "called",
            "write one",
            "write two",
            "write three",
            "first ok",
            "finish",
            "close",
        ]);
    });
}

#[test]
fn rule_1_no_call_runs_the_sink_or_the_source_before_it_returns() {
    for destroys in [false, true] {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 20);
        let shared = Rc::new(RefCell::new(Vec::new()));
        let noting = |what: &'static str| {
            let shared = shared.clone();
            move || shared.borrow_mut().push(what)
        };
        let (read, write, end) = (noting("read"), noting("write"), noting("final"));
        let (gone, data) = (noting("destroy"), noting("data"));
        let stream = DuplexOptions::new()
            .read(move |_, _| read())
            .write(move |_, _, done| {
                write();
                done.ok();
            })
            .finalize(move |_, done| {
                end();
                done.ok();
            })
            .destroy(move |_, _, done| {
                gone();
                done.ok();
            })
            .create(&lp);
        stream.on_data(move |_, _| data());
        let borrows = shared.clone();
        lp.set_timeout_once(1, move |_| {
            let borrowed = borrows.borrow_mut();
            stream.push("data");
            stream.unshift("more");
            stream.read(0);
            stream.write("chunk");
            stream.end();
            match destroys {
                true => stream.destroy(),
                false => stream.push_end(),
            }
            drop(borrowed);
        });
        lp.run().unwrap();
        let (ended, then) = (["final", "destroy"], ["destroy"]);
        let then: &[_] = if destroys { &then } else { &ended };
        let called = shared.borrow();
        assert_eq!(called[..4], ["read", "data", "data", "write"]);
        assert_eq!(called[4..], *then);
    }
}

#[test]
fn a_slow_sink_pushes_back_and_drains() {
    on_every_loop(|lp| {
        let log = Recorder::new();
        let answers = Rc::new(RefCell::new(Vec::new()));
        let kept = answers.clone();
        let stream = WritableOptions::new()
            .high_water_mark(4)
            .write(move |_, _, done| kept.borrow_mut().push(done))
            .create(lp);
        stream.on_drain(log.noting("drain"));
        assert!(stream.write_then("abc", log.done("abc")));
        assert!(!stream.write_then("d", log.done("d")));
        assert_eq!(stream.writable_length(), 4);
        assert!(stream.writable_need_drain());
        let it = log.clone();
        lp.set_interval(1, move |timer| {
            let Some(done) = answers.borrow_mut().pop() else {
                return timer.clear();
            };
            done.ok();
            it.note("answered");
        });
        lp.run().unwrap();
        log.expect(&["answered", "abc ok", "answered", "drain", "d ok"]);
        assert_eq!(stream.writable_length(), 0);
        stream.destroy();
        lp.run().unwrap();
    });
}

#[test]
fn corked_chunks_go_together_to_writev() {
    on_every_loop(|lp| {
        let log = Recorder::new();
        let (it, also) = (log.clone(), log.clone());
        let stream = WritableOptions::new()
            .write(move |_, chunk, done| {
                it.note(format!("write {}", text(&chunk)));
                done.ok();
            })
            .writev(move |_, chunks, done| {
                also.note(format!("writev {}", text(&chunks.concat())));
                done.ok();
            })
            .create(lp);
        stream.write("a");
        stream.cork();
        stream.cork();
        stream.write("b");
        stream.write_then("c", log.done("c"));
        stream.uncork();
        assert_eq!(stream.writable_corked(), 1);
        stream.uncork();
        stream.write("d");
        stream.end();
        lp.run().unwrap();
        log.expect(&["write a", "writev bc", "write d", "c ok"]);
    });
}

#[test]
fn a_failing_sink_destroys_its_stream_and_every_completion_is_told() {
    on_every_loop(|lp| {
        let log = Recorder::new();
        let stream = Writable::new(lp, |_, _, done| done.fail("no room"));
        stream.write_then("a", log.done("a"));
        stream.write_then("b", log.done("b"));
        stream.end_then(log.done("end"));
        let it = log.clone();
        stream.on_error(move |_, error| it.note(format!("error {error}")));
        stream.on_close(log.noting("close"));
        lp.run().unwrap();
        log.expect(&[
            "a no room",
            "b no room",
            "end no room",
            "error no room",
            "close",
        ]);
    });
}

#[test]
fn an_answer_that_is_dropped_is_a_failure() {
    on_every_loop(|lp| {
        let log = Recorder::new();
        let stream = Writable::new(lp, |_, _, done| drop(done));
        stream.write_then("a", log.done("a"));
        let it = log.clone();
        stream.on_error(move |_, error| it.note(code_of(error)));
        lp.run().unwrap();
        log.expect(&["a ECANCELED", "ECANCELED"]);
    });
}

#[test]
fn a_stream_stays_until_its_sink_has_answered() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let log = Recorder::new();
    let kept = Rc::new(RefCell::new(None));
    let answer = kept.clone();
    let stream = Writable::new(&lp, move |_, _, done| *answer.borrow_mut() = Some(done));
    stream.write_then("a", log.done("a"));
    stream.write_then("b", log.done("b"));
    lp.set_timeout_once(1, move |_| stream.destroy());
    lp.run().unwrap();
    log.expect(&[]);
    assert_eq!(streams(&lp), 1);
    kept.borrow_mut().take().unwrap().ok();
    lp.run().unwrap();
    log.expect(&["a ok", "b ERR_STREAM_DESTROYED"]);
    assert_eq!(streams(&lp), 0);
}

#[test]
fn readable_and_read_pull_any_number_of_bytes() {
    on_every_loop(|lp| {
        let log = Recorder::new();
        let stream = source(lp, &["abc", "de", "f"]);
        let it = log.clone();
        stream.on_readable(move |stream| {
            while let Some(chunk) = stream.read(4) {
                it.note(text(&chunk));
            }
        });
        stream.on_end(log.noting("end"));
        lp.run().unwrap();
        log.expect(&["abcd", "ef", "end"]);
    });
}

#[test]
fn unshift_puts_bytes_back() {
    on_every_loop(|lp| {
        let log = Recorder::new();
        let stream = source(lp, &["head\nbody"]);
        let it = log.clone();
        stream.once_readable(move |stream| {
            let chunk = stream.read_chunk().unwrap();
            it.note(text(&chunk[..4]));
            stream.unshift(chunk.slice(5..));
            assert_eq!(stream.readable_length(), 4);
            follow(&it, stream);
        });
        lp.run().unwrap();
        log.expect(&["head", "data body", "end", "close"]);
    });
}

#[test]
fn pause_holds_back_what_is_pushed() {
    on_every_loop(|lp| {
        let log = Recorder::new();
        let stream = ReadableOptions::new().create(lp);
        follow(&log, stream);
        stream.on_pause(log.noting("pause"));
        stream.on_resume(log.noting("resume"));
        let it = log.clone();
        lp.set_timeout_once(1, move |timer| {
            stream.push("a");
            stream.pause();
            stream.push("b");
            assert_eq!(stream.readable_flowing(), Some(false));
            it.note("pushed");
            timer.event_loop().set_timeout_once(1, move |_| {
                stream.resume();
                stream.push_end();
            });
        });
        lp.run().unwrap();
        log.expect(&[
            "resume", "pushed", "pause", "data a", "data b", "resume", "end", "close",
        ]);
    });
}

#[test]
fn a_transform_changes_what_goes_through_and_flushes_at_the_end() {
    on_every_loop(|lp| {
        let log = Recorder::new();
        let stream = TransformOptions::new()
            .transform(|_, chunk, done| done.push(chunk.to_ascii_uppercase()))
            .flush(|stream, done| {
                stream.push("!");
                done.push("?");
            })
            .create(lp);
        let it = log.clone();
        stream.on_data(move |_, chunk| it.note(text(chunk)));
        stream.on_finish(log.noting("finish"));
        stream.on_end(log.noting("end"));
        stream.on_close(log.noting("close"));
        stream.write("a");
        stream.end_with("b");
        lp.run().unwrap();
        log.expect(&["A", "B", "!", "?", "end", "finish", "close"]);
    });
}

#[test]
fn nobody_reads_so_a_transform_takes_no_more() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let calls = Rc::new(Cell::new(0));
    let count = calls.clone();
    let stream = TransformOptions::new()
        .high_water_mark(2)
        .transform(move |_, chunk, done| {
            count.set(count.get() + 1);
            done.push(chunk);
        })
        .create(&lp);
    for _ in 0..10 {
        stream.write("xx");
    }
    lp.run().unwrap();
    assert_eq!(calls.get(), 1);
    assert_eq!(
        (stream.readable_length(), stream.writable_length()),
        (2, 20)
    );
    let bytes = Rc::new(Cell::new(0));
    let got = bytes.clone();
    stream.on_data(move |_, chunk| got.set(got.get() + chunk.len()));
    stream.end();
    lp.run().unwrap();
    assert_eq!((calls.get(), bytes.get()), (10, 20));
    assert!(stream.destroyed());
}

#[test]
fn construct_comes_first() {
    on_every_loop(|lp| {
        let log = Recorder::new();
        let (it, also) = (log.clone(), log.clone());
        let stream = WritableOptions::new()
            .construct(move |stream, done| {
                it.note("construct");
                stream.event_loop().set_timeout_once(1, move |_| done.ok());
            })
            .write(move |_, chunk, done| {
                also.note(text(&chunk));
                done.ok();
            })
            .create(lp);
        stream.write("a");
        stream.end_with("b");
        stream.on_finish(log.noting("finish"));
        lp.run().unwrap();
        log.expect(&["construct", "a", "b", "finish"]);
    });
}

#[test]
fn destroy_is_told_with_its_error() {
    on_every_loop(|lp| {
        let log = Recorder::new();
        let it = log.clone();
        let stream = ReadableOptions::new()
            .destroy(move |_, error: Option<Error>, done| {
                it.note(format!("destroy {}", error.as_ref().unwrap()));
                done.result(error.map_or(Ok(()), Err));
            })
            .create(lp);
        stream.destroy_with("enough");
        stream.destroy_with("again");
        let it = log.clone();
        stream.on_error(move |_, error| it.note(format!("error {error}")));
        stream.on_close(log.noting("close"));
        log.note("called");
        lp.run().unwrap();
        log.expect(&["called", "destroy enough", "error enough", "close"]);
    });
}

#[test]
fn misuse_is_an_error() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let log = Recorder::new();
    let watch = |stream: Duplex| {
        let it = log.clone();
        stream.on_error(move |_, error| it.note(code_of(error)));
    };
    let after_end = Duplex::pass_through(&lp);
    watch(after_end);
    after_end.end();
    assert!(!after_end.write_then("x", log.done("late")));
    let after_eof = Duplex::pass_through(&lp);
    watch(after_eof);
    after_eof.push_end();
    assert!(!after_eof.push("x"));
    let destroyed = Duplex::pass_through(&lp);
    watch(destroyed);
    destroyed.destroy();
    assert!(!destroyed.write_then("x", log.done("gone")));
    assert!(!destroyed.push("x"));
    lp.run().unwrap();
    log.expect(&[
        "late ERR_STREAM_WRITE_AFTER_END",
        "ERR_STREAM_WRITE_AFTER_END",
        "ERR_STREAM_PUSH_AFTER_EOF",
        "gone ERR_STREAM_DESTROYED",
    ]);
    // Gone by now: nothing happens, and whoever waits is told.
    assert!(!destroyed.write_then("x", log.done("too late")));
    assert_eq!(destroyed.read(1), None);
    assert!(destroyed.destroyed() && destroyed.closed());
    lp.run().unwrap();
    log.expect(&["too late ERR_HANDLE_GONE"]);
}

#[test]
fn a_panicking_sink_leaves_its_stream_consistent() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    let log = Recorder::new();
    let mut panics = true;
    let it = log.clone();
    let stream = Writable::new(&lp, move |_, chunk, done| {
        it.note(text(&chunk));
        assert!(!std::mem::take(&mut panics), "the first");
        done.ok();
    });
    stream.write("a");
    stream.write("b");
    stream.on_close(log.noting("close"));
    let it = log.clone();
    stream.on_error(move |_, error| it.note(code_of(error)));
    assert!(caught(|| lp.run()).contains("the first"));
    lp.run().unwrap();
    // Its answer was dropped by the panic.
    log.expect(&["a", "ECANCELED", "close"]);
}

#[test]
fn nothing_is_left_of_a_thousand_streams() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 20);
    for n in 0..1000 {
        let stream = Duplex::pass_through(&lp);
        stream.on_data(|_, _| {});
        match n % 3 {
            0 => stream.end_with(Bytes::from_static(b"x")),
            1 => stream.destroy(),
            _ => {
                stream.on_error(|_, _| {});
                stream.destroy_with("no more");
            }
        }
    }
    lp.run().unwrap();
    assert_eq!(streams(&lp), 0);
}

/// They had to be closures that can be called again, though none ever is.
#[test]
fn what_a_stream_calls_once_may_give_things_away() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let given = || {
        let (log, gift) = (log.clone(), Box::<str>::from("given"));
        move |to: &str| log.note(format!("{to} {}", String::from(gift)))
    };
    let (construct, finalize, destroy, flush) = (given(), given(), given(), given());
    let sink = WritableOptions::new()
        .construct(|_, done| {
            construct("construct");
            done.ok();
        })
        .finalize(|_, done| {
            finalize("finalize");
            done.ok();
        })
        .destroy(|_, _, done| {
            destroy("destroy");
            done.ok();
        })
        .create(&lp);
    let transform = TransformOptions::new()
        .flush(|_, done| {
            flush("flush");
            done.ok();
        })
        .create(&lp);
    transform.resume();
    transform.end();
    sink.end();
    lp.run().unwrap();
    log.expect(&[
        "construct given",
        "flush given",
        "finalize given",
        "destroy given",
    ]);
}

#[test]
fn what_was_buffered_behind_a_write_that_destroys_the_sink_fails() {
    on_every_loop(|lp| {
        let log = Recorder::new();
        let inner = log.clone();
        let sink = Writable::new(lp, move |sink, chunk, done| {
            inner.note(format!("write {}", text(&chunk)));
            sink.destroy();
            done.ok();
        });
        sink.cork();
        sink.write_then("one", log.done("one"));
        sink.write_then("two", log.done("two"));
        sink.uncork();
        lp.run().unwrap();
        log.expect(&["write one", "one ok", "two ERR_STREAM_DESTROYED"]);
    });
}

#[test]
fn finished_without_errors_leaves_an_error_unhandled() {
    on_every_loop(|lp| {
        let stream = Duplex::pass_through(lp);
        finished(&stream, FinishedOptions::new().error(false), |_| {});
        stream.destroy_with("nobody listens");
        assert_eq!(lp.run().unwrap_err().to_string(), "nobody listens");
    });
}

/// The answer came in front of the 'end', so a chunk behind it could take the place of the 'end' with an error.
#[test]
fn a_transform_that_ends_early_has_its_end_before_its_answer() {
    for soon in [true, false] {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 20);
        let log = Recorder::new();
        let transform = TransformOptions::new()
            .transform(move |transform, chunk, done| {
                let end = move || {
                    transform.push(chunk);
                    transform.push_end();
                    done.ok();
                };
                match soon {
                    true => end(),
                    false => drop(transform.event_loop().set_immediate(move |_| end())),
                }
            })
            .create(&lp);
        let it = log.clone();
        transform.on_data(move |_, chunk| it.note(text(chunk)));
        transform.on_end(log.noting("end"));
        transform.write_then("a", log.done("answer"));
        lp.run().unwrap();
        log.expect(&["a", "end", "answer ok"]);
    }
}
