//! The main module of a component, and the base that has its memory.

use std::collections::HashMap;

use wasm_encoder::reencode::{Error, Reencode, RoundtripReencoder, utils};
use wasm_encoder::{
    CodeSection, ConstExpr, DataCountSection, DataSection, ElementSection, Elements, ExportKind,
    ExportSection, Function, FunctionSection, GlobalSection, ImportSection, MemorySection,
    MemoryType, Module, RefType, TableSection, TableType, TypeSection,
};
use wasmparser::{
    Data, DataKind, ExternalKind, FuncType, FunctionBody, Operator, Parser, Payload, TypeRef,
};

use super::image::runs;
use super::lasting::Lasting;
use super::reset::{Names, Reset};
use super::{BASE, LATE, MEMORY, Sizes, Untied, late};

/// What there is to know of the main module.
pub(super) struct Main<'c> {
    memory: MemoryType,
    /// Where each piece of its data is, and the piece.
    data: Vec<(i32, &'c [u8])>,
    /// How many tables it imports already.
    tables: u32,
    /// The numbers and types of the functions that are late.
    late: Vec<(u32, FuncType)>,
    /// If it can be put back.
    pub lasting: Option<Lasting>,
}

/// What is read of a main module.
#[derive(Default)]
struct Sections<'c> {
    types: Vec<FuncType>,
    /// The types of functions, by their numbers.
    functions: Vec<u32>,
    tables: u32,
    memories: Vec<wasmparser::MemoryType>,
    exports: HashMap<&'c str, u32>,
    data: Vec<(i32, &'c [u8])>,
    /// What is added to: sections that are not there would have to be made.
    imports: bool,
    elements: bool,
}

impl<'c> Sections<'c> {
    fn read(module: &'c [u8]) -> Result<Self, Untied> {
        let mut sections = Self::default();
        for payload in Parser::new(0).parse_all(module) {
            sections.add(payload?)?;
        }
        Ok(sections)
    }

    fn add(&mut self, payload: Payload<'c>) -> Result<(), Untied> {
        match payload {
            Payload::TypeSection(section) => {
                let types = section.into_iter_err_on_gc_types();
                self.types = types.collect::<Result<_, _>>()?;
            }
            Payload::ImportSection(section) => {
                self.imports = true;
                for import in section.into_imports() {
                    match import?.ty {
                        TypeRef::Func(ty) | TypeRef::FuncExact(ty) => self.functions.push(ty),
                        TypeRef::Table(_) => self.tables += 1,
                        TypeRef::Memory(memory) => self.memories.push(memory),
                        TypeRef::Global(_) | TypeRef::Tag(_) => {}
                    }
                }
                if !self.memories.is_empty() {
                    return Err(Untied::Shape("a main module without its memory"));
                }
            }
            Payload::FunctionSection(section) => {
                for ty in section {
                    self.functions.push(ty?);
                }
            }
            Payload::MemorySection(section) => {
                self.memories = section.into_iter().collect::<Result<_, _>>()?;
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    if export.kind == ExternalKind::Func {
                        self.exports.insert(export.name, export.index);
                    }
                }
            }
            Payload::ElementSection(_) => self.elements = true,
            Payload::DataSection(section) => {
                for piece in section {
                    self.data.extend(placed(&piece?)?);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The number and the type of a function that is exported.
    fn function(&self, name: &str) -> Option<(u32, FuncType)> {
        let number = *self.exports.get(name)?;
        let ty = *self.functions.get(number as usize)?;
        Some((number, self.types.get(ty as usize)?.clone()))
    }
}

impl<'c> Main<'c> {
    pub fn read(module: &'c [u8], late: &[&str], lasting: Option<Lasting>) -> Result<Self, Untied> {
        let sections = Sections::read(module)?;
        if !sections.imports || !sections.elements {
            return Err(Untied::Shape("a main module without imports or elements"));
        }
        let late = late.iter().map(|name| sections.function(name));
        let late = late.collect::<Option<_>>();
        Ok(Self {
            memory: plain(&sections.memories)?,
            late: late.ok_or(Untied::Shape("a function that is not exported"))?,
            tables: sections.tables,
            data: sections.data,
            lasting,
        })
    }

    /// The sections that let an instance of the component be put back.
    pub fn reset(&self, sizes: &Sizes, names: &Names) -> Result<Vec<u8>, Untied> {
        let lasting = self.lasting.as_ref();
        let reset = Reset {
            memory: self.memory,
            runs: &runs(&self.data)?,
            lasting: lasting.ok_or(Untied::Changes("what was not read"))?,
        };
        Ok(reset.sections(sizes, names))
    }

    /// The module that has its memory.
    pub fn base(&self) -> Result<Module, Error<Untied>> {
        let (mut types, mut functions) = (TypeSection::new(), FunctionSection::new());
        let (mut exports, mut code) = (ExportSection::new(), CodeSection::new());
        exports.export(MEMORY, ExportKind::Memory, 0);
        exports.export(LATE, ExportKind::Table, 0);
        for (number, (_, ty)) in (0_u32..).zip(&self.late) {
            types
                .ty()
                .func_type(&RoundtripReencoder.func_type(ty.clone()).map_err(unusual)?);
            functions.function(number);
            exports.export(&late(number as usize), ExportKind::Func, number);
            let mut call = Function::new([]);
            let mut body = call.instructions();
            for parameter in (0_u32..).zip(ty.params()).map(|(parameter, _)| parameter) {
                body.local_get(parameter);
            }
            body.i32_const(number.cast_signed())
                .call_indirect(0, number)
                .end();
            code.function(&call);
        }
        let (mut tables, mut memories) = (TableSection::new(), MemorySection::new());
        tables.table(self.table());
        memories.memory(self.memory);
        let mut data = DataSection::new();
        for (offset, piece) in &self.data {
            data.active(0, &ConstExpr::i32_const(*offset), piece.iter().copied());
        }
        let mut base = Module::new();
        base.section(&types)
            .section(&functions)
            .section(&tables)
            .section(&memories)
            .section(&exports)
            .section(&DataCountSection { count: data.len() })
            .section(&code)
            .section(&data);
        Ok(base)
    }

    /// The type of the table of late functions.
    fn table(&self) -> TableType {
        let size = self.late.len() as u64;
        TableType {
            element_type: RefType::FUNCREF,
            table64: false,
            minimum: size,
            maximum: Some(size),
            shared: false,
        }
    }
}

fn unusual<E>(_: Error<E>) -> Error<Untied> {
    Error::UserError(Untied::Shape("an unusual type"))
}

/// Where a piece of data is; nowhere, if it is empty.
fn placed<'c>(piece: &Data<'c>) -> Result<Option<(i32, &'c [u8])>, Untied> {
    match &piece.kind {
        DataKind::Active { offset_expr, .. } => {
            let mut operators = offset_expr.get_operators_reader();
            match (operators.read()?, operators.read()?) {
                (Operator::I32Const { value }, Operator::End) => Ok(Some((value, piece.data))),
                _ => Err(Untied::Shape("data whose place is not fixed")),
            }
        }
        // What a snapshot leaves of data that it has put in place.
        DataKind::Passive if piece.data.is_empty() => Ok(None),
        DataKind::Passive => Err(Untied::Shape("data that is put in place later")),
    }
}

fn plain(memories: &[wasmparser::MemoryType]) -> Result<MemoryType, Untied> {
    match memories {
        [memory] if !memory.memory64 && !memory.shared => Ok((*memory).into()),
        _ => Err(Untied::Shape("not one plain memory")),
    }
}

/// The main module, whose memory is the base's, and which fills the base's
/// table.
impl Reencode for Main<'_> {
    type Error = Untied;

    // Tables that are imported come before those that are not.
    fn table_index(&mut self, table: u32) -> Result<u32, Error<Untied>> {
        Ok(table + u32::from(table >= self.tables))
    }

    fn parse_import_section(
        &mut self,
        imports: &mut ImportSection,
        section: wasmparser::ImportSectionReader<'_>,
    ) -> Result<(), Error<Untied>> {
        utils::parse_import_section(self, imports, section)?;
        imports.import(BASE, MEMORY, self.memory);
        imports.import(BASE, LATE, self.table());
        Ok(())
    }

    fn parse_memory_section(
        &mut self,
        _: &mut MemorySection,
        _: wasmparser::MemorySectionReader<'_>,
    ) -> Result<(), Error<Untied>> {
        Ok(())
    }

    // After the module's own, which need not be filled in one by one: what
    // follows an imported table does.
    fn parse_element_section(
        &mut self,
        elements: &mut ElementSection,
        section: wasmparser::ElementSectionReader<'_>,
    ) -> Result<(), Error<Untied>> {
        utils::parse_element_section(self, elements, section)?;
        let late: Vec<u32> = self.late.iter().map(|(number, _)| *number).collect();
        let begin = ConstExpr::i32_const(0);
        elements.active(Some(self.tables), &begin, Elements::Functions(late.into()));
        Ok(())
    }

    fn parse_global_section(
        &mut self,
        globals: &mut GlobalSection,
        section: wasmparser::GlobalSectionReader<'_>,
    ) -> Result<(), Error<Untied>> {
        utils::parse_global_section(self, globals, section)?;
        if let Some(lasting) = &self.lasting {
            lasting.count(globals);
        }
        Ok(())
    }

    fn parse_export_section(
        &mut self,
        exports: &mut ExportSection,
        section: wasmparser::ExportSectionReader<'_>,
    ) -> Result<(), Error<Untied>> {
        utils::parse_export_section(self, exports, section)?;
        if let Some(lasting) = &self.lasting {
            lasting.export(exports);
        }
        Ok(())
    }

    // Counts the handles that are made.
    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        body: FunctionBody<'_>,
    ) -> Result<(), Error<Untied>> {
        let mut function = self.new_function_with_parsed_locals(&body)?;
        let mut operators = body.get_operators_reader()?;
        while !operators.eof() {
            let operator = operators.read()?;
            let made = self
                .lasting
                .as_ref()
                .filter(|lasting| lasting.makes(&operator));
            let made = made.map(|lasting| lasting.made);
            function.instruction(&self.instruction(operator)?);
            if let Some(made) = made {
                function
                    .instructions()
                    .global_get(made)
                    .i64_const(1)
                    .i64_add()
                    .global_set(made);
            }
        }
        code.function(&function);
        Ok(())
    }

    fn data_count(&mut self, _: u32) -> Result<u32, Error<Untied>> {
        Ok(0)
    }

    fn parse_data_section(
        &mut self,
        _: &mut DataSection,
        _: wasmparser::DataSectionReader<'_>,
    ) -> Result<(), Error<Untied>> {
        Ok(())
    }
}
