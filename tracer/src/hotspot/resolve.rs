//! Raw frame → named frames, with what was already named and what is remembered.
//!
//! A compiled frame is named once per (blob, compile id, pc) and kept: no other code of the run has that key. Its
//! nmethod is copied when it is first met, so that its other pcs have names when it is gone. An interpreted frame's key
//! (`Method*` and a cookie) can be used again after its class was unloaded, so a cached method counts only while memory
//! still says that it is the same. An entry that no longer holds gives a remembered name, marked stale, or none.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tracer_common::unwind::{Frame, frame_kind};

use super::code_cache::{Blob, CodeCache};
use super::copied::{Copied, CopiedScope};
use super::frame::{JavaFrame, JavaFrameKind, Stale, Tier};
use super::history::{History, Remembered};
use super::layout::Layout;
use super::method::{self, Method};
use super::nmethod::Nmethod;
use super::read::{ReadError, Reader};

/// Keys kept of each kind; then the cache starts anew.
const MAX_CACHED: usize = 1 << 18;

/// Readings of a compiled frame that does not hang together: its JVM changes it meanwhile.
const READS: usize = 3;

/// The wrapper of a native method, by its blob's name.
const NATIVE_WRAPPER: &str = "native nmethod";

/// An nmethod in the code cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    pub blob: Blob,
    pub compile_id: u32,
    pub tier: Option<Tier>,
    /// Names of its outermost method: class with dots, name, descriptor.
    pub class: Arc<str>,
    pub method: Arc<str>,
    pub signature: Arc<str>,
}

/// Names that were read so far.
#[derive(Debug, Default)]
pub(super) struct Names {
    compiled: HashMap<(u64, u32, u64), Arc<[JavaFrame]>>,
    /// Methods by address and cookie.
    methods: HashMap<(u64, u32), Arc<Method>>,
    history: History,
}

/// Sources from which names are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct NameSource<'a> {
    pub(super) reader: Reader<'a>,
    pub(super) layout: &'a Layout,
    pub(super) code_cache: &'a CodeCache,
    pub(super) return_barrier: u64,
}

impl NameSource<'_> {
    /// Reason why a name is stale; of a JVM that is gone nobody can tell what became of code or classes.
    fn why(&self, stale: Stale) -> Stale {
        if self.code_cache.is_gone(self.reader) { Stale::Unreadable } else { stale }
    }
}

impl Names {
    /// The frames that `frame` stands for, innermost first; never none.
    pub(super) fn resolve(&mut self, source: NameSource<'_>, frame: &Frame) -> Arc<[JavaFrame]> {
        match frame.kind {
            frame_kind::COMPILED => self.compiled(source, frame),
            frame_kind::INTERPRETED => [self.interpreted(source, frame)].into(),
            frame_kind::STUB => {
                [self.interrupted(source, frame).unwrap_or_else(|| stub(source, frame))].into()
            }
            frame_kind::CONTINUATION => {
                [JavaFrame { kind: JavaFrameKind::Continuation, ..JavaFrame::unknown(None) }].into()
            }
            _ => [JavaFrame::unknown(None)].into(),
        }
    }

    /// The method in whose compiled code a thread was interrupted, by a page fault: its stack was not walked, so all
    /// that is known is where it was. Inlined methods there, and the line, are not told.
    fn interrupted(&mut self, source: NameSource<'_>, frame: &Frame) -> Option<JavaFrame> {
        let is_unknown = frame.aux == 0 && !source.code_cache.interpreter.contains(&frame.pc);
        let blob = is_unknown.then(|| source.code_cache.find(source.reader, frame.pc).ok()).flatten()?;
        let Compiled { class, method, signature, tier, .. } = self.read(source, blob)?;
        Some(JavaFrame {
            kind: JavaFrameKind::Method,
            class,
            method,
            signature,
            tier,
            ..JavaFrame::unknown(None)
        })
    }

    fn compiled(&mut self, source: NameSource<'_>, frame: &Frame) -> Arc<[JavaFrame]> {
        let key = (frame.aux, frame.extra, frame.pc);
        if let Some(frames) = self.compiled.get(&key) {
            return frames.clone();
        }
        let id = (frame.aux, frame.extra);
        if self.history.copied(id).is_none() {
            self.copy(source, frame.aux);
        }
        // From the copy if there is one: it is of one moment.
        let copied = self.history.copied(id).and_then(|copied| copied_frames(copied, frame));
        let frames = match copied {
            Some(frames) if frames.iter().all(|frame| frame.stale.is_none()) => Ok(frames),
            copied => self.read_compiled(source, frame).or_else(|stale| copied.ok_or(stale)),
        };
        match frames {
            Ok(frames) => {
                let frames: Arc<[JavaFrame]> = frames.into();
                insert_bounded(&mut self.compiled, key, frames.clone());
                frames
            }
            Err(stale) => [self.remembered(frame, source.why(stale))].into(),
        }
    }

    /// State of a compiled frame by memory as it is now.
    fn read_compiled(&mut self, source: NameSource<'_>, frame: &Frame) -> Result<Vec<JavaFrame>, Stale> {
        let mut frames = Err(Stale::Unreadable);
        for _ in 0..READS {
            frames = self.read_compiled_once(source, frame);
            if frames != Err(Stale::Unreadable) {
                return frames;
            }
        }
        // Other code in its place says nothing of it.
        match Nmethod::compile_id_now(source.reader, &source.layout.nmethod, frame.aux) {
            Ok(id) if id == frame.extra => frames,
            _ => Err(Stale::Nmethod(frame.extra)),
        }
    }

    fn read_compiled_once(&mut self, source: NameSource<'_>, frame: &Frame) -> Result<Vec<JavaFrame>, Stale> {
        let NameSource { reader, layout, code_cache, .. } = source;
        let gone = |_: ReadError| Stale::Nmethod(frame.extra);
        let unreadable = |_: ReadError| Stale::Unreadable;
        let blob = code_cache.blob(reader, frame.aux).map_err(gone)?;
        if !blob.code.contains(&frame.pc) {
            return Err(Stale::Nmethod(frame.extra));
        }
        if !blob.is_nmethod() {
            // Where the unwinder does not know the nmethods' name yet, stubs look like them.
            return Ok(vec![stub(source, frame)]);
        }
        let nmethod = Nmethod::read(reader, &layout.nmethod, frame.aux).map_err(unreadable)?;
        if nmethod.compile_id != frame.extra {
            return Err(Stale::Nmethod(frame.extra));
        }
        let scopes = nmethod.scopes(reader, &blob, frame.pc).map_err(unreadable)?;
        let tier = tier(&blob, nmethod.level);
        let outermost = scopes.len().saturating_sub(1);
        let mut frames = Vec::with_capacity(scopes.len());
        for (index, scope) in scopes.iter().enumerate() {
            let method = self.method(source, scope.method).map_err(unreadable)?;
            let tier = if index == outermost { tier } else { Some(Tier::Inlined) };
            frames.push(java_frame(&method, Some(scope.bci), tier));
        }
        // A blob that was freed or replaced meanwhile has given a mixture.
        code_cache.blob(reader, frame.aux).map_err(gone)?;
        match Nmethod::compile_id_now(reader, &layout.nmethod, frame.aux) {
            Ok(id) if id == frame.extra => {}
            _ => return Err(Stale::Nmethod(frame.extra)),
        }
        if let Some(outer) = frames.last() {
            self.history.insert((frame.aux, frame.extra), remember(outer));
        }
        Ok(frames)
    }

    /// The outermost method of a compiled frame of which memory knows nothing any more.
    fn remembered(&self, frame: &Frame, stale: Stale) -> JavaFrame {
        match self.history.get((frame.aux, frame.extra)) {
            Some(name) => JavaFrame {
                kind: JavaFrameKind::Method,
                class: name.class.clone(),
                method: name.method.clone(),
                signature: name.signature.clone(),
                ..JavaFrame::unknown(Some(stale))
            },
            None => JavaFrame::unknown(Some(stale)),
        }
    }

    fn interpreted(&mut self, source: NameSource<'_>, frame: &Frame) -> JavaFrame {
        let live = self.method(source, frame.pc);
        if let Ok(method) = &live
            && method.identity().cookie() == frame.extra
        {
            return java_frame(method, Some(method.bci(frame.aux)), Some(Tier::Interpreted));
        }
        match self.methods.get(&(frame.pc, frame.extra)) {
            Some(method) => {
                let bci = method.bci(frame.aux);
                let frame = java_frame(method, Some(bci), Some(Tier::Interpreted));
                JavaFrame { stale: Some(Stale::Method), ..frame }
            }
            None => JavaFrame::unknown(Some(source.why(Stale::Method))),
        }
    }

    /// The method at `address`, from the cache if memory says that it is still the same.
    fn method(&mut self, source: NameSource<'_>, address: u64) -> Result<Arc<Method>, ReadError> {
        let layout = &source.layout.method;
        let identity = method::identity(source.reader, layout, address)?;
        let key = (address, identity.cookie());
        if let Some(method) = self.methods.get(&key)
            && *method.identity() == identity
            && method.calls_the_same(source.reader, layout, address)
        {
            return Ok(method.clone());
        }
        let method = Arc::new(Method::read(source.reader, layout, address, identity)?);
        insert_bounded(&mut self.methods, key, method.clone());
        Ok(method)
    }

    /// Remembers the nmethod whose code starts at `code`, if it is (still) there.
    pub(super) fn remember(&mut self, source: NameSource<'_>, code: u64) -> bool {
        let blob = source.code_cache.find(source.reader, code).ok();
        match blob.filter(|blob| blob.code.start == code).map(|blob| blob.address) {
            Some(address) => self.copy(source, address),
            None => false,
        }
    }

    /// Copies the nmethod at `address`, if there is one of which there is no copy yet. Says whether
    /// it was there to be named.
    pub(super) fn copy(&mut self, source: NameSource<'_>, address: u64) -> bool {
        let Ok(blob) = source.code_cache.blob(source.reader, address) else { return false };
        let Some(compiled) = self.read(source, blob) else { return false };
        let key = (address, compiled.compile_id);
        if self.history.copied(key).is_none()
            && let Ok(copied) = self.read_whole(source, &compiled)
        {
            self.history.keep(key, Arc::new(copied));
        }
        true
    }

    /// Reads all that names any pc of `compiled`.
    fn read_whole(&mut self, source: NameSource<'_>, compiled: &Compiled) -> Result<Copied, ReadError> {
        let NameSource { reader, layout, code_cache, .. } = source;
        let Compiled { blob, compile_id, tier, .. } = compiled;
        let nmethod = Nmethod::read(reader, &layout.nmethod, blob.address)?;
        let debug = nmethod.debug(reader, blob)?;
        let outer = self.method(source, nmethod.method)?;
        let mut methods = BTreeMap::new();
        for index in debug.method_indices()? {
            let address = reader.pointer(debug.metadata_address(index))?;
            // One that is not to be had leaves a gap where it is inlined.
            let method =
                if address == nmethod.method { Ok(outer.clone()) } else { self.method(source, address) };
            methods.extend(method.ok().map(|method| (index, method)));
        }
        // A blob that was freed or replaced meanwhile has given a mixture.
        let again = Nmethod::read(reader, &layout.nmethod, blob.address)?;
        let is_same = code_cache.blob(reader, blob.address)? == *blob
            && (nmethod.compile_id, again.compile_id) == (*compile_id, *compile_id)
            && again.method == nmethod.method
            && again.is_at_same_places(&nmethod, blob)
            && method::identity(reader, &layout.method, nmethod.method)? == *outer.identity();
        match is_same && debug.is_plausible() {
            true => Ok(Copied { code: blob.code.clone(), tier: *tier, outer, debug, methods }),
            false => Err(ReadError::OutOfBounds(blob.address)),
        }
    }

    /// The blobs that are nmethods now.
    pub(super) fn nmethod_blobs(source: NameSource<'_>) -> Vec<u64> {
        let mut blobs = Vec::new();
        source.code_cache.each(source.reader, |blob| {
            blobs.extend(blob.is_nmethod().then_some(blob.address));
            std::ops::ControlFlow::Continue(())
        });
        blobs
    }

    /// Every nmethod in the code cache; all are remembered.
    pub(super) fn nmethods(&mut self, source: NameSource<'_>) -> Vec<Compiled> {
        let mut blobs = Vec::new();
        source.code_cache.each(source.reader, |blob| {
            blobs.push(blob);
            std::ops::ControlFlow::Continue(())
        });
        blobs.into_iter().filter_map(|blob| self.read(source, blob)).collect()
    }

    /// The nmethod that `blob` is, `None` if it is none or is gone; it is remembered.
    fn read(&mut self, source: NameSource<'_>, blob: Blob) -> Option<Compiled> {
        if !blob.is_nmethod() {
            return None;
        }
        let NameSource { reader, layout, code_cache, .. } = source;
        let nmethod = Nmethod::read(reader, &layout.nmethod, blob.address).ok()?;
        let method = self.method(source, nmethod.method).ok()?;
        let still = code_cache.blob(reader, blob.address).is_ok_and(|again| again == blob)
            && Nmethod::compile_id_now(reader, &layout.nmethod, blob.address) == Ok(nmethod.compile_id);
        if !still {
            return None;
        }
        let frame = java_frame(&method, None, None);
        self.history.insert((blob.address, nmethod.compile_id), remember(&frame));
        Some(Compiled {
            compile_id: nmethod.compile_id,
            tier: tier(&blob, nmethod.level),
            class: frame.class,
            method: frame.method,
            signature: frame.signature,
            blob,
        })
    }

    /// Number of nmethods that are remembered.
    pub(super) fn remembered_count(&self) -> usize {
        self.history.len()
    }
}

fn insert_bounded<K: std::hash::Hash + Eq, V>(cache: &mut HashMap<K, V>, key: K, value: V) {
    if cache.len() >= MAX_CACHED {
        cache.clear();
    }
    cache.insert(key, value);
}

fn remember(frame: &JavaFrame) -> Remembered {
    Remembered {
        class: frame.class.clone(),
        method: frame.method.clone(),
        signature: frame.signature.clone(),
    }
}

fn tier(blob: &Blob, level: u8) -> Option<Tier> {
    match level {
        _ if blob.name == NATIVE_WRAPPER => Some(Tier::Native),
        1..=3 => Some(Tier::C1),
        4 => Some(Tier::C2),
        _ => None,
    }
}

fn java_frame(method: &Method, bci: Option<u32>, tier: Option<Tier>) -> JavaFrame {
    let bci = bci.filter(|_| !method.native);
    JavaFrame {
        kind: JavaFrameKind::Method,
        class: method.class.clone(),
        method: method.name.clone(),
        signature: method.signature.clone(),
        file: method.file.clone(),
        line: bci.and_then(|bci| method.line(bci)),
        bci,
        tier,
        native: method.native,
        native_function: method.native_function,
        stale: None,
    }
}

/// The frames at a pc of an nmethod that was copied; `None` if the copy cannot tell.
fn copied_frames(copied: &Copied, frame: &Frame) -> Option<Vec<JavaFrame>> {
    let scopes = copied.scopes(frame.pc)?;
    let outermost = scopes.len().saturating_sub(1);
    let named = |(index, scope): (usize, &CopiedScope<'_>)| match scope.method {
        Some(method) => {
            let tier = if index == outermost { copied.tier } else { Some(Tier::Inlined) };
            java_frame(method, Some(scope.bci), tier)
        }
        None => JavaFrame::unknown(Some(Stale::Nmethod(frame.extra))),
    };
    Some(scopes.iter().enumerate().map(named).collect())
}

/// The JVM's own name for code that is no Java method.
fn stub(source: NameSource<'_>, frame: &Frame) -> JavaFrame {
    let NameSource { reader, code_cache, return_barrier, .. } = source;
    if frame.pc == code_cache.call_stub_return {
        return JavaFrame::stub("call_stub");
    }
    if return_barrier != 0 && frame.pc == return_barrier {
        return JavaFrame::stub("cont_returnBarrier");
    }
    if code_cache.interpreter.contains(&frame.pc) {
        return JavaFrame::stub("interpreter");
    }
    let known = Some(frame.aux).filter(|blob| *blob != 0);
    let blob = known.map_or_else(|| code_cache.find(reader, frame.pc), |blob| code_cache.blob(reader, blob));
    match blob {
        Ok(blob) if !blob.is_nmethod() => JavaFrame::stub(&blob.name),
        // It was no nmethod when the stack was taken.
        _ => JavaFrame::unknown(Some(Stale::Unreadable)),
    }
}
