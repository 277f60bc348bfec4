//! Class loaders: the graph of `ClassLoaderData`, each with the list of its classes.
//!
//! In JDK 8 a loader's list of classes is found by proof: its first class names the loader. The entry that holds a
//! hidden class there is one more with the object of another loader. Source: HotSpot, `classfile/classLoaderData.hpp`
//! (JDK 8 to 25).

use std::collections::{BTreeMap, HashMap, HashSet};

use super::layout::LoaderLayout;
use super::metaspace::{self, Metaspace};
use super::{ATTEMPTS, StatsError, not_described};
use crate::hotspot::class_name::readable;
use crate::hotspot::layout::Layout;
use crate::hotspot::method;
use crate::hotspot::oops::{Objects, wide};
use crate::hotspot::pages::Pages;
use crate::hotspot::read::{ListGuard, ReadError, Reader, pointer};
use crate::hotspot::vmstructs::Field;
use crate::process::memory::ProcessMemory;

/// Loaders, and holders of hidden classes, of one JVM.
const MAX_LOADERS: usize = 1 << 20;
/// Classes of one JVM.
const MAX_CLASSES: usize = 1 << 22;
/// Name of the loader that has no object: the loader of the JVM itself.
const BOOTSTRAP: &str = "bootstrap";

/// Loaders of one type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoaderType {
    /// The class of the loaders, with dots; `bootstrap` for the JVM's own.
    pub name: String,
    pub count: u64,
    /// Defined by them, with arrays and hidden classes.
    pub class_count: u64,
    /// `None` if it could not be read of each.
    pub metaspace: Option<Metaspace>,
}

/// All class loaders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaders {
    /// The most numerous first.
    pub types: Vec<LoaderType>,
    pub count: u64,
    pub class_count: u64,
    /// Metaspace of all of them.
    pub metaspace: Option<Metaspace>,
}

/// A `ClassLoaderData`.
struct Loader {
    address: u64,
    /// The loader's object; 0 for the JVM's own.
    object: u64,
    is_holder: bool,
}

pub(super) fn read(
    memory: &dyn ProcessMemory,
    layout: &Layout,
    objects: Option<&Objects>,
) -> Result<Loaders, StatsError> {
    let fields = layout.stats.loaders.as_ref().ok_or_else(|| not_described("its class loaders"))?;
    let objects = objects.ok_or_else(|| not_described("its objects"))?;
    let mut last = ReadError::OutOfBounds(0);
    for attempt in 1..=ATTEMPTS {
        // Hidden classes have one each, which lie side by side. In a JVM that makes many just now, copies of pages may be
        // of different moments, again and again.
        let pages = Pages::new(memory);
        let reader = Reader::new(if attempt < ATTEMPTS { &pages } else { memory });
        match read_once(reader, layout, fields, objects) {
            Ok(loaders) => return Ok(loaders),
            Err(error) => last = error,
        }
    }
    Err(last.into())
}

fn read_once(
    reader: Reader<'_>,
    layout: &Layout,
    fields: &LoaderLayout,
    objects: &Objects,
) -> Result<Loaders, ReadError> {
    let mut types: BTreeMap<String, LoaderType> = BTreeMap::new();
    let mut names: HashMap<u64, String> = HashMap::new();
    let mut loaders = Loaders { metaspace: Some(Metaspace::default()), ..Loaders::default() };
    let graph = Graph::new(reader, fields)?;
    for loader in graph.loaders()? {
        let name = match loader.object {
            0 => BOOTSTRAP.to_owned(),
            object => {
                let class = objects.class(reader, object)?;
                match names.get(&class) {
                    Some(name) => name.clone(),
                    None => {
                        let name = class_name(reader, layout, fields, class)?;
                        names.insert(class, name.clone());
                        name
                    }
                }
            }
        };
        let class_count = graph.classes(loader.address)?.len() as u64;
        // A loader that has not defined a class yet may have none.
        let metaspace = metaspace::of_loader(reader, fields, loader.address).ok();
        let metaspace = metaspace.or((class_count == 0).then(Metaspace::default));
        let entry = types.entry(name.clone()).or_insert_with(|| LoaderType {
            name,
            metaspace: Some(Metaspace::default()),
            ..LoaderType::default()
        });
        for sum in [&mut entry.metaspace, &mut loaders.metaspace] {
            *sum = sum.zip(metaspace).map(|(sum, more)| sum + more);
        }
        entry.count += u64::from(!loader.is_holder);
        entry.class_count += class_count;
        loaders.count += u64::from(!loader.is_holder);
        loaders.class_count += class_count;
    }
    loaders.types = types.into_values().collect();
    loaders.types.sort_by(|a, b| b.count.cmp(&a.count).then(b.class_count.cmp(&a.class_count)));
    Ok(loaders)
}

/// The graph of loaders.
struct Graph<'a> {
    reader: Reader<'a>,
    fields: &'a LoaderLayout,
    /// A loader's first class.
    classes: Field,
}

impl<'a> Graph<'a> {
    fn new(reader: Reader<'a>, fields: &'a LoaderLayout) -> Result<Self, ReadError> {
        let described = Self { reader, fields, classes: fields.classes.unwrap_or(fields.next) };
        if fields.classes.is_some() {
            return Ok(described);
        }
        let offsets = || (fields.object.offset..fields.next.offset).step_by(8);
        let leads_back = |loader: &Loader| {
            let field = |offset| Field { offset, ..fields.next };
            offsets().map(field).find(|field| {
                let class = reader.pointer_field(loader.address, *field);
                class.and_then(|class| reader.field(class, fields.of_class)) == Ok(loader.address)
            })
        };
        let classes = described.loaders()?.iter().find_map(leads_back);
        Ok(Self { classes: classes.ok_or(ReadError::BadPointer(fields.head))?, ..described })
    }

    /// Every `ClassLoaderData`.
    fn loaders(&self) -> Result<Vec<Loader>, ReadError> {
        let Self { reader, fields, .. } = *self;
        let mut loaders = Vec::new();
        let mut objects = HashSet::new();
        let mut guard = ListGuard::default();
        let mut next = reader.u64(fields.head)?;
        while next != 0 {
            guard.pass(next)?;
            if loaders.len() >= MAX_LOADERS {
                return Err(ReadError::OutOfBounds(next));
            }
            let address = pointer(next)?;
            let object = match reader.field(address, fields.object)? {
                0 => 0,
                reference if !fields.object_is_handle => wide(reference)?,
                // A loader that is being taken down has a handle to nothing.
                handle => match reader.u64(pointer(handle)?)? {
                    0 => 0,
                    reference => wide(reference)?,
                },
            };
            let is_known = !objects.insert(object);
            let is_holder = match fields.is_holder {
                Some(field) => reader.field(address, field)? != 0,
                None => is_known,
            };
            loaders.push(Loader { address, object, is_holder });
            next = reader.field(address, fields.next)?;
        }
        Ok(loaders)
    }

    /// Addresses of the classes of the loader at `address`.
    fn classes(&self, address: u64) -> Result<Vec<u64>, ReadError> {
        let mut classes = Vec::new();
        let mut guard = ListGuard::default();
        let mut next = self.reader.field(address, self.classes)?;
        while next != 0 {
            guard.pass(next)?;
            if classes.len() >= MAX_CLASSES {
                return Err(ReadError::OutOfBounds(next));
            }
            let class = pointer(next)?;
            classes.push(class);
            next = self.reader.field(class, self.fields.next_class)?;
        }
        Ok(classes)
    }
}

/// The name of a class, with dots.
fn class_name(
    reader: Reader<'_>,
    layout: &Layout,
    fields: &LoaderLayout,
    class: u64,
) -> Result<String, ReadError> {
    let name = method::symbol(reader, &layout.method, reader.field(class, fields.klass_name)?)?;
    Ok(readable(&name))
}

/// The class `name` (with slashes) of the JVM's own loader, if it is loaded.
pub(super) fn bootstrap_class(
    reader: Reader<'_>,
    layout: &Layout,
    fields: &LoaderLayout,
    name: &str,
) -> Result<Option<u64>, ReadError> {
    let graph = Graph::new(reader, fields)?;
    // JDK 8 does not tell which one holds hidden classes.
    for loader in graph.loaders()?.iter().filter(|loader| loader.object == 0) {
        for class in graph.classes(loader.address)? {
            let symbol = reader.field(class, fields.klass_name)?;
            if method::symbol(reader, &layout.method, symbol).is_ok_and(|text| text == name) {
                return Ok(Some(class));
            }
        }
    }
    Ok(None)
}
