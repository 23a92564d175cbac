//! For handles of modules above that stand for a stream of this floor: they dereference to it, and implement
//! the traits of streams.

/// What makes a handle pass for its stream: it dereferences to it, turns into it, and prints by its own name.
macro_rules! stand_for {
    ($name:ident, $stream:ty) => {
        impl $name {
            /// The stream as one like any other.
            pub fn stream(self) -> $stream {
                self.0
            }

            /// Its loop.
            pub fn event_loop(&self) -> $crate::event_loop::handle::LoopHandle {
                self.0.event_loop()
            }
        }

        impl $crate::event_loop::api::AsLoop for $name {
            fn event_loop(&self) -> $crate::event_loop::handle::LoopHandle {
                self.0.event_loop()
            }
        }

        impl std::ops::Deref for $name {
            type Target = $stream;

            fn deref(&self) -> &$stream {
                &self.0
            }
        }

        impl From<$name> for $stream {
            fn from(handle: $name) -> $stream {
                handle.0
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), "({:?})"), self.0.0)
            }
        }
    };
}
pub(crate) use stand_for;

/// Methods that are the stream's.
macro_rules! delegated {
    ($trait:path: $($method:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?;)+) => {
        $(fn $method(&self, $($argument: $type),*) $(-> $result)? {
            <_ as $trait>::$method(&**self, $($argument),*)
        })+
    };
}
pub(crate) use delegated;

/// Implements [`Stream`](crate::stream::Stream).
macro_rules! delegate_stream {
    ($name:ident) => {
        impl $crate::stream::traits::sealed::Sealed for $name {
            $crate::stream::delegate::delegated! {
                $crate::stream::traits::sealed::Sealed:
                watch_error(listener: Box<dyn FnMut()>) -> $crate::ground::listeners::ListenerId;
                is_duplex() -> bool;
                will_emit_close() -> bool;
                error_emitted() -> bool;
                is_drained() -> bool;
                source_has_ended() -> bool;
                has_unwritten() -> bool;
                has_writes() -> bool;
                raw_end() -> Option<$crate::stream::StreamId>;
                divert(
                    listener: $crate::ground::listeners::ListenerId,
                    to: $crate::stream::StreamId,
                    pipe: std::rc::Rc<dyn $crate::event_loop::diversion::Diverter>
                );
            }

            fn to_stream(&self) -> std::rc::Rc<dyn $crate::stream::Stream> {
                std::rc::Rc::new(*self)
            }
        }

        impl $crate::stream::Stream for $name {
            $crate::stream::delegate::delegated! {
                $crate::stream::Stream:
                stream_id() -> $crate::stream::StreamId;
                destroy();
                destroy_for(error: $crate::ground::error::Error);
                destroyed() -> bool;
                closed() -> bool;
                errored() -> Option<$crate::ground::error::Error>;
                listen(
                    event: $crate::stream::StreamEvent,
                    listener: Box<dyn FnMut()>
                ) -> $crate::ground::listeners::ListenerId;
                listen_error(
                    listener: Box<dyn FnMut(&$crate::ground::error::Error)>
                ) -> $crate::ground::listeners::ListenerId;
                off(listener: $crate::ground::listeners::ListenerId);
                has_readable_side() -> bool;
                has_writable_side() -> bool;
                is_readable() -> bool;
                is_writable() -> bool;
                readable_ended() -> bool;
                writable_ended() -> bool;
                writable_finished() -> bool;
            }
        }
    };
}
pub(crate) use delegate_stream;

/// Has a handle stand for a [`Readable`](crate::stream::Readable).
macro_rules! delegate_readable {
    ($name:ident) => {
        $crate::stream::delegate::stand_for!($name, $crate::stream::Readable);
        $crate::stream::delegate::delegate_stream!($name);

        impl $crate::stream::ReadableStream for $name {
            fn to_readable(&self) -> std::rc::Rc<dyn $crate::stream::ReadableStream> {
                std::rc::Rc::new(*self)
            }

            $crate::stream::delegate::delegated! {
                $crate::stream::ReadableStream:
                listen_data(
                    listener: Box<dyn FnMut(&[u8])>
                ) -> $crate::ground::listeners::ListenerId;
                listen_bytes(
                    listener: Box<dyn FnMut($crate::stream::traits::DataChunk<'_>)>
                ) -> $crate::ground::listeners::ListenerId;
                is_listened_to() -> bool;
                pause();
                resume();
                is_paused() -> bool;
                readable_flowing() -> Option<bool>;
                readable_length() -> usize;
            }
        }
    };
}
pub(crate) use delegate_readable;

/// Has a handle stand for a [`Writable`](crate::stream::Writable), but for the ways to write, which may be
/// its own.
macro_rules! delegate_writable {
    ($name:ident { $($writes:tt)* }) => {
        $crate::stream::delegate::stand_for!($name, $crate::stream::Writable);
        $crate::stream::delegate::delegate_stream!($name);
        $crate::stream::pipe::destinations!($name);

        impl $crate::stream::WritableStream for $name {
            fn to_writable(&self) -> std::rc::Rc<dyn $crate::stream::WritableStream> {
                std::rc::Rc::new(*self)
            }

            $($writes)*

            $crate::stream::delegate::delegated! {
                $crate::stream::WritableStream:
                write_piped(chunk: $crate::stream::traits::DataChunk<'_>) -> bool;
                end_piped();
                cork();
                uncork();
                writable_length() -> usize;
                writable_need_drain() -> bool;
            }
        }
    };
}
pub(crate) use delegate_writable;
