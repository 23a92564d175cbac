//! Bugs of pipes that were found and fixed, each with what it did.

mod support;

use std::cell::Cell;
use std::io::Write;
use std::rc::Rc;

use nodeloop::stream::{
    DuplexOptions, FinishedOptions, PipeOptions, Readable, Stream, Writable, WritableOptions,
    finished, pipe, pipeline, unpipe,
};
use nodeloop::{Loop, stdio};
use support::*;

/// A source that ends without having anything.
fn nothing(lp: &Loop) -> Readable {
    Readable::new(lp, |stream, _| stream.push_end())
}

/// Its completion was never called, since standard output was not ended.
#[test]
fn a_pipeline_to_standard_output_is_told_that_it_is_over() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    pipeline(&nothing(&lp), &[], &stdio::stdout(&lp), log.done("stdout"));
    // As the stream that it is.
    pipeline(
        &nothing(&lp),
        &[],
        &stdio::stderr(&lp).stream(),
        log.done("stderr"),
    );
    lp.run().unwrap();
    log.expect(&["stdout ok", "stderr ok"]);
}

/// It stayed piped, and as the `Writable` that it is it was ended.
#[test]
fn a_pipe_to_standard_output_is_unpiped_when_its_source_has_ended() {
    for as_any_stream in [false, true] {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 10);
        let stdout = stdio::stdout(&lp);
        let unpiped = Rc::new(Cell::new(0));
        let count = unpiped.clone();
        stdout.on_unpipe(move |_, _| count.set(count.get() + 1));
        for _ in 0..2 {
            match as_any_stream {
                true => drop(nothing(&lp).pipe(stdout.stream())),
                false => drop(nothing(&lp).pipe(stdout)),
            }
            lp.run().unwrap();
        }
        assert_eq!(unpiped.get(), 2);
        assert!(stdout.writable() && !stdout.writable_ended());
        assert!(stdout.write(""));
        lp.run().unwrap();
    }
}

/// `finished` said that all was well, and a pipeline never called back and left its destination open.
#[test]
fn n223_a_pipeline_from_a_stream_that_is_gone_fails_and_destroys_its_destination() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let source = Readable::new(&lp, |_, _| {});
    source.on_error(|_, _| {});
    source.destroy_with("broken");
    lp.run().unwrap();
    let sink = Writable::new(&lp, |_, _, done| done.ok());
    finished(&source, FinishedOptions::new(), log.done("finished"));
    pipeline(&source, &[], &sink, log.done("pipeline"));
    lp.run().unwrap();
    log.expect(&[
        "finished ERR_STREAM_PREMATURE_CLOSE",
        "pipeline ERR_STREAM_PREMATURE_CLOSE",
    ]);
    assert!(sink.destroyed());
}

/// 'unpipe' came before 'pipe', which waits for a tick.
#[test]
fn a_pipe_from_a_source_that_has_ended_is_told_before_its_end() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let source = nothing(&lp);
    source.keep();
    source.resume();
    lp.run().unwrap();
    let sink = Writable::new(&lp, |_, _, done| done.ok());
    let log = Recorder::new();
    let inner = log.clone();
    sink.on_pipe(move |_, _| inner.note("pipe"));
    let inner = log.clone();
    sink.on_unpipe(move |_, _| inner.note("unpipe"));
    pipe(&source, &sink, PipeOptions::new().end(false));
    lp.run().unwrap();
    log.expect(&["pipe", "unpipe"]);
}

/// The documentation did not say what becomes of the destination.
#[test]
fn a_pipe_from_a_source_that_has_ended_ends_its_destination_unless_the_source_is_gone() {
    for kept in [true, false] {
        let lp = Loop::new().unwrap();
        let _deadline = deadline(&lp, 10);
        let source = nothing(&lp);
        if kept {
            source.keep();
        }
        source.resume();
        lp.run().unwrap();
        let sink = Writable::new(&lp, |_, _, done| done.ok());
        let log = Recorder::new();
        sink.on_finish(log.noting("finish"));
        pipe(&source, &sink, PipeOptions::new());
        lp.run().unwrap();
        assert_eq!(log.has("finish"), kept);
        assert_eq!(sink.destroyed(), kept);
    }
}

/// What the source had came before 'pipe', which Node emits before it returns from the call.
#[test]
fn a_pipe_is_told_before_what_comes_through_it() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let inner = log.clone();
    let sink = Writable::new(&lp, move |_, chunk, done| {
        inner.note(String::from_utf8_lossy(&chunk));
        done.ok();
    });
    let inner = log.clone();
    sink.on_pipe(move |_, _| inner.note("pipe"));
    let source = Readable::new(&lp, |_, _| {});
    source.push("chunk");
    source.pipe(sink);
    source.push_end();
    lp.run().unwrap();
    log.expect(&["pipe", "chunk"]);
}

/// Nobody was told, and the destination stayed open.
#[test]
fn a_pipeline_from_a_loop_that_is_gone_fails_and_destroys_its_destination() {
    let gone = Loop::new().unwrap();
    let source = Readable::new(&gone, |_, _| {});
    drop(gone);
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let sink = Writable::new(&lp, |_, _, done| done.ok());
    pipeline(&source, &[], &sink, log.done("pipeline"));
    lp.run().unwrap();
    log.expect(&["pipeline ERR_STREAM_PREMATURE_CLOSE"]);
    assert!(sink.destroyed());
}

/// It waited for ever for the 'end' of a side that is not there.
#[test]
fn a_pipe_from_a_duplex_without_a_readable_side_ends_its_destination() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let source = DuplexOptions::new()
        .readable(false)
        .write(|_, _, done| done.ok())
        .create(&lp);
    let sink = Writable::new(&lp, |_, _, done| done.ok());
    sink.on_finish(log.noting("finish"));
    source.pipe(sink);
    lp.run().unwrap();
    log.expect(&["finish"]);
}

/// As in Node, and easily overlooked: who had read a header by itself and piped the rest saw nothing of it.
#[test]
fn nothing_comes_through_a_pipe_while_somebody_listens_to_readable() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, peer) = pair(&lp);
    let header = Rc::new(Cell::new(false));
    let seen = header.clone();
    let id = socket.on_readable(move |socket| {
        if !seen.get() && socket.read(4).is_some() {
            seen.set(true);
            socket.pipe(socket);
        }
    });
    send_and_end(&peer, b"headbody");
    turn_until(&lp, || header.get());
    assert_eq!(socket.readable_flowing(), Some(false));
    assert_eq!((socket.readable_length(), socket.bytes_written()), (4, 0));
    socket.off(id);
    lp.run().unwrap();
    assert_eq!(read_to_end(&peer), b"body");
}

/// As in Node: a header that was put back to wait for the rest of its message starved the loop.
#[test]
fn what_is_put_back_behind_a_read_that_found_too_little_is_told_again() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let (socket, mut peer) = pair(&lp);
    let times = Rc::new(Cell::new(0));
    let count = times.clone();
    socket.on_readable(move |socket| {
        count.set(count.get() + 1);
        let header = socket.read(2).expect("it was put back");
        assert_eq!(socket.read(10), None);
        if count.get() < 100 {
            socket.unshift(header);
        } else {
            socket.destroy();
        }
    });
    peer.write_all(b"header").unwrap();
    let turns = lp.turns();
    turn_until(&lp, || times.get() > 0);
    // No turn between them: they are ticks of ticks.
    assert_eq!(times.get(), 100);
    assert!(lp.turns() - turns <= 2);
    lp.run().unwrap();
}

/// A source of three bytes, which come when it has run for a while.
fn three_bytes(lp: &Loop) -> Readable {
    let source = Readable::new(lp, |_, _| {});
    lp.set_immediate(move |_| {
        source.push("abc");
    });
    source
}

/// When a listener of anything went, data could flow although somebody listened to 'readable'.
#[test]
fn a_listener_that_goes_leaves_it_to_readable_whether_data_flows() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let (socket, mut peer) = pair(&lp);
    let inner = log.clone();
    socket.on_readable(move |socket| {
        inner.note(format!("the socket's {}", socket.readable_length()));
        socket.destroy();
    });
    let inner = log.clone();
    socket.on_data(move |_, _| inner.note("data"));
    let other = socket.on_end(|_| {});
    socket.off(other);
    socket.resume();
    peer.write_all(b"abc").unwrap();
    lp.run().unwrap();
    log.expect(&["the socket's 3"]);

    let source = three_bytes(&lp);
    let inner = log.clone();
    source.on_readable(move |it| inner.note(format!("the stream's {}", it.readable_length())));
    let inner = log.clone();
    source.on_data(move |_, _| inner.note("data"));
    let other = source.on_end(|_| {});
    source.off(other);
    source.resume();
    lp.run().unwrap();
    log.expect(&["the stream's 3"]);
}

/// So it was when a destination that had been waited for was unpiped.
#[test]
fn an_unpipe_leaves_it_to_readable_whether_data_flows() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let source = three_bytes(&lp);
    let inner = log.clone();
    source.on_data(move |_, _| inner.note("data"));
    let inner = log.clone();
    source.on_readable(move |it| inner.note(format!("readable {}", it.readable_length())));
    let options = WritableOptions::new().high_water_mark(2);
    let sink = options.write(|_, _, done| done.ok()).create(&lp);
    sink.write("abc");
    pipe(&source, &sink, PipeOptions::new());
    unpipe(&source, &sink);
    lp.run().unwrap();
    log.expect(&["readable 3"]);
}

/// What was corked went to the sink on a tick, so that 'finish' came behind the source's 'close'.
#[test]
fn a_corked_destination_finishes_before_its_source_closes() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let source = Readable::new(&lp, |_, _| {});
    let sink = Writable::new(&lp, {
        let log = log.clone();
        move |_, chunk, done| {
            log.note(format!("written {}", String::from_utf8_lossy(&chunk)));
            done.ok();
        }
    });
    source.on_close(log.noting("source close"));
    sink.on_finish(log.noting("finish"));
    source.pipe(sink);
    sink.cork();
    source.push("ab");
    source.push("cd");
    source.push_end();
    // Behind the pipe's listener: it has ended the sink.
    let late = log.clone();
    source.on_end(move |_| late.note(format!("ended {}", sink.writable_ended())));
    lp.run().unwrap();
    log.expect(&[
        "ended true",
        "written ab",
        "written cd",
        "finish",
        "source close",
    ]);
}

/// It was told that all is well before the connection was refused.
#[test]
fn a_socket_ended_before_its_connection_is_not_finished_before_that_is_decided() {
    let closed = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let socket = nodeloop::net::connect(&lp, ("127.0.0.1", port));
    socket.end();
    let options = FinishedOptions::new().readable(false);
    let failed = log.clone();
    let _ = finished(&socket, options, move |result| {
        failed.note(result.unwrap_err().code().unwrap_or_default());
    });
    lp.run().unwrap();
    log.expect(&["ECONNREFUSED"]);
}

/// The sink that does something at the end was last, since it is told of the end behind all listeners of
/// the source's 'end'.
#[test]
fn sinks_of_one_source_finish_in_the_order_of_their_pipes() {
    let lp = Loop::new().unwrap();
    let _deadline = deadline(&lp, 10);
    let log = Recorder::new();
    let source = nothing(&lp);
    for (name, does_something) in [("a", true), ("b", false), ("c", true), ("d", false)] {
        let mut options = WritableOptions::new().write(|_, _, done| done.ok());
        if does_something {
            options = options.finalize(|_, done| done.ok());
        }
        let sink = options.create(&lp);
        sink.on_finish(log.noting(name));
        source.pipe(sink);
    }
    lp.run().unwrap();
    log.expect(&["a", "b", "c", "d"]);
}
