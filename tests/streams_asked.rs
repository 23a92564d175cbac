//! What a stream tells of itself when it is asked, listeners that are called once, and streams of which nothing is
//! known but their traits.

mod support;

use std::cell::RefCell;
use std::rc::Rc;

use nodeloop::net::{self, Socket};
use nodeloop::stream::{
    Duplex, DuplexOptions, FinishedOptions, ReadableExt, StreamEvent, Writable, WritableExt,
    WritableStream, finished, pipeline,
};
use nodeloop::{Error, Loop};
use support::*;

/// A stream that takes everything and gives what is pushed.
fn duplex(lp: &Loop, options: DuplexOptions) -> Duplex {
    let options = options.read(|_, _| {}).write(|_, _, done| done.ok());
    options.create(lp)
}

/// Its answers: `readable`, `readableEnded`, `readableAborted` and `readableDidRead`, then `writable`, `writableEnded`
/// and `writableFinished`.
fn told(stream: Duplex) -> String {
    let reading = [
        stream.readable(),
        stream.readable_ended(),
        stream.readable_aborted(),
        stream.readable_did_read(),
    ];
    let writing = [
        stream.writable(),
        stream.writable_ended(),
        stream.writable_finished(),
    ];
    let digits = |answers: &[bool]| {
        answers
            .iter()
            .map(|&yes| if yes { '1' } else { '0' })
            .collect::<String>()
    };
    format!("{} {}", digits(&reading), digits(&writing))
}

/// A side that is not there was told to be neither ended nor finished.
#[test]
fn a_side_that_is_not_there_has_ended() {
    let new = DuplexOptions::new;
    let rows = [
        (new(), "1000 100", "0010 000"),
        (new().readable(false), "0100 100", "0100 000"),
        (new().writable(false), "1000 011", "0010 011"),
    ];
    for (options, at_first, destroyed) in rows {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 10);
        let stream = duplex(&lp, options);
        stream.keep();
        assert_eq!(told(stream), at_first);
        stream.destroy();
        lp.run().unwrap();
        assert_eq!(told(stream), destroyed);
        assert_eq!(stream.writable_aborted(), !stream.writable_finished());
        stream.release();
        assert_eq!(told(stream), "0000 000", "it is gone");
    }
}

/// What `finished` says of one without a side, as Node's. Where both say nothing, 'close' never comes.
#[test]
fn a_side_that_is_not_there_is_over() {
    type Choose = fn(FinishedOptions) -> FinishedOptions;
    let looks: [(&str, Choose); 5] = [
        ("", |it| it),
        ("readable off", |it| it.readable(false)),
        ("writable off", |it| it.writable(false)),
        ("readable", |it| it.readable(true)),
        ("writable", |it| it.writable(true)),
    ];
    // Without a readable side it is over when it has ended; what is pushed into it goes nowhere.
    let ok = Some(None);
    let early = Some(Some("ERR_STREAM_PREMATURE_CLOSE".to_string()));
    let without_readable = [
        [None, ok.clone(), None],
        [None, ok.clone(), None],
        [ok.clone(), ok.clone(), ok.clone()],
        [None, ok.clone(), None],
        [None, ok.clone(), None],
    ];
    let without_writable = [
        [None, None, ok.clone()],
        [ok.clone(), ok.clone(), ok.clone()],
        [None, None, ok.clone()],
        [None, None, ok.clone()],
        [None, None, early],
    ];
    let no_readable = || DuplexOptions::new().readable(false);
    let no_writable = || DuplexOptions::new().writable(false);
    for (options, expected) in [
        (&no_readable as &dyn Fn() -> DuplexOptions, without_readable),
        (&no_writable, without_writable),
    ] {
        for ((look, choose), expected) in looks.into_iter().zip(expected) {
            for (act, expected) in ["none", "end", "push"].into_iter().zip(expected) {
                let lp = Loop::new().unwrap();
                let _deadline = deadline(&lp, 10);
                let stream = duplex(&lp, options());
                match act {
                    "end" => stream.end(),
                    "push" => {
                        stream.push_end();
                        stream.resume();
                    }
                    _ => {}
                }
                let told = Rc::new(RefCell::new(None));
                let inner = told.clone();
                finished(&stream, choose(FinishedOptions::new()), move |result| {
                    let code = |error: Error| error.code().unwrap_or("none").to_string();
                    *inner.borrow_mut() = Some(result.err().map(code));
                });
                lp.run().unwrap();
                assert_eq!(told.take(), expected, "{:?} {look:?} {act}", options());
            }
        }
    }
}

/// It never completed.
#[test]
fn a_pipeline_from_a_duplex_without_a_readable_side_completes() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let source = duplex(&lp, DuplexOptions::new().readable(false));
    let sink = Writable::new(&lp, |_, _, done| done.ok());
    sink.on_finish(log.noting("finish"));
    pipeline(&source, &[], &sink, log.done("pipeline"));
    lp.run().unwrap();
    log.expect(&["finish", "pipeline ok"]);
}

#[test]
fn the_answers_through_a_streams_life() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let stream = duplex(&lp, DuplexOptions::new());
    let log = Recorder::new();
    let note = |what: &'static str| {
        let log = log.clone();
        move |stream| log.note(format!("{what} {}", told(stream)))
    };
    note("new")(stream);
    let data = note("data");
    stream.on_data(move |stream, _| data(stream));
    stream.on_end(note("end"));
    stream.on_finish(note("finish"));
    stream.on_close(note("close"));
    stream.push("x");
    stream.push_end();
    let (later, ended) = (note("later"), note("ended"));
    lp.set_timeout_once(5, move |_| {
        later(stream);
        stream.end_with("y");
        ended(stream);
    });
    lp.run().unwrap();
    log.expect(&[
        "new 1000 100",
        "data 1001 100",
        "end 0101 100",
        "later 0101 100",
        "ended 0101 010",
        "finish 0101 011",
        "close 0101 011",
    ]);
}

#[test]
fn listeners_for_once_are_called_once() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let options = DuplexOptions::new().writable_high_water_mark(2);
    let stream = duplex(&lp, options.readable_high_water_mark(3));
    assert_eq!(
        (
            stream.readable_high_water_mark(),
            stream.writable_high_water_mark()
        ),
        (3, 2)
    );
    stream.once_drain(log.noting("drain"));
    stream.once_end(log.noting("end"));
    stream.once_close(log.noting("close"));
    let inner = log.clone();
    stream.once_error(move |_, error| inner.note(error));
    stream.resume();
    for _ in 0..2 {
        assert!(!stream.write("four"));
        lp.run_nowait().unwrap();
    }
    stream.push_end();
    lp.run_nowait().unwrap();
    stream.destroy_with("enough");
    lp.run().unwrap();
    log.expect(&["drain", "end", "enough", "close"]);
}

/// Writes to the one and reads from the other, by the traits alone.
fn talk(lp: &Loop, log: &Recorder, to: &dyn WritableStream, from: impl ReadableExt) {
    let inner = log.clone();
    let mut pauses = true;
    from.on_bytes(move |from, bytes| {
        inner.note(String::from_utf8_lossy(bytes));
        if std::mem::take(&mut pauses) {
            from.pause();
        }
        let pausing = (from.is_paused(), from.readable_length());
        assert_eq!(pausing, (bytes == b"one two", 0));
    });
    from.on(StreamEvent::Pause, log.noting("pause"));
    from.on(StreamEvent::Resume, log.noting("resume"));
    from.on(StreamEvent::End, log.noting("end"));
    assert_eq!(from.readable_flowing(), Some(true));
    lp.run_nowait().unwrap();
    log.expect(&["resume"]);
    to.cork();
    assert!(to.write_bytes_then("one two", log.done("written")));
    assert_eq!(to.writable_length(), 7);
    lp.run_nowait().unwrap();
    log.expect(&[]);
    to.uncork();
    turn_until(lp, || log.has("pause") && log.has("written ok"));
    let mut noted = log.take();
    // Which side is told first differs.
    noted.retain(|it| it != "written ok");
    assert_eq!(noted, ["one two", "pause"]);
    to.end_stream(Some("three".into()), Some(Box::new(log.done("ended"))));
    assert!(to.writable_ended() && !to.is_writable());
    turn_until(lp, || log.has("ended ok"));
    from.resume();
    turn_until(lp, || log.has("end"));
    log.expect(&["ended ok", "resume", "three", "end"]);
}

#[test]
fn a_stream_is_used_by_its_traits_whatever_it_is() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let through = Duplex::pass_through(&lp);
    talk(&lp, &log, &through, through);
    let accepted = std::rc::Rc::new(std::cell::Cell::new(None::<Socket>));
    let inner = accepted.clone();
    let (server, address) = listening(&lp, move |socket| inner.set(Some(socket)));
    let client = net::connect(&lp, target(address));
    turn_until(&lp, || accepted.get().is_some() && !client.connecting());
    server.close();
    talk(&lp, &log, &client, accepted.get().unwrap());
}
