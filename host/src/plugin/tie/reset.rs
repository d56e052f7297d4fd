//! The module that puts an instance of a component back to how it began, and
//! the sections that add it to the component.
//!
//! It is told which pages of the memory have been written to, and gives each
//! what it began with; it sets the globals; and it puts the numbers of handles
//! in order. Those are wasmtime's: a handle gets the number that became free
//! last, or the next one if none did, so which are free, and in which order, is
//! something that one exchange could leave for the next. The module makes as
//! many handles as the exchange has had at the most, of a type of its own. If
//! their numbers are those from one upwards, in whatever order, no handle is
//! left; they are dropped from the last to the first, and come from the first
//! to the last then, as they did at first. No number above them was ever used.
//!
//! An instance whose memory has grown cannot be put back.

use wasm_encoder::{
    Alias, BlockType, CanonicalFunctionSection, CanonicalOption, CodeSection, Component,
    ComponentAliasSection, ComponentExportKind, ComponentExportSection, ComponentTypeSection,
    DataCountSection, DataSection, EntityType, ExportKind, ExportSection, Function,
    FunctionSection, ImportSection, InstanceSection, InstructionSink, MemArg, MemoryType, Module,
    ModuleArg, ModuleSection, PrimitiveValType, TypeSection, ValType,
};

use super::image::{PAGE, Run};
use super::lasting::{Lasting, MADE, global};
use super::{BASE, MEMORY, Sizes};

/// How many ranges of pages one call puts back.
pub(in crate::plugin) const RANGES: usize = 8;

/// What such a call takes: how many handles there were, and the ranges.
pub(in crate::plugin) type Arguments = (u32, u64, u64, u64, u64, u64, u64, u64, u64);

/// The most handles that are looked for: an exchange has a handful.
pub(in crate::plugin) const MAX_HANDLES: u32 = 64;

const MAIN: &str = "main";
const HANDLES: &str = "handles";
const PAGE_BITS: i32 = PAGE.trailing_zeros().cast_signed();

/// What the component exports for it.
pub(in crate::plugin) struct Names {
    /// `func() -> list<u8>`: the whole memory.
    pub memory: String,
    /// `func(handles: u32, ranges: RANGES times u64) -> bool`: puts pages back,
    /// from the number in the upper half of each range to before that in the
    /// lower half, until a range is empty, and all else; says whether all is as
    /// it was when no more than so many handles were given to the instance.
    pub reset: String,
}

impl Names {
    /// The digest of a component is in the names, so that it cannot have
    /// exports of the same names itself.
    pub fn of(digest: &str) -> Self {
        Self {
            memory: format!("memory-x{digest}"),
            reset: format!("reset-x{digest}"),
        }
    }
}

/// What the module is made for.
pub(super) struct Reset<'m> {
    pub memory: MemoryType,
    pub runs: &'m [Run],
    pub lasting: &'m Lasting,
}

// The functions of the module, by their numbers.
const NEW: u32 = 0;
const DROP: u32 = 1;
const PUT: u32 = 2;
const RESET: u32 = 3;
const WHOLE: u32 = 4;

impl Reset<'_> {
    /// The sections to add to a component of such sizes, without a header.
    pub fn sections(&self, sizes: &Sizes, names: &Names) -> Vec<u8> {
        let mut types = ComponentTypeSection::new();
        types.resource(ValType::I32, None);
        types.defined_type().list(PrimitiveValType::U8);
        let list = wasm_encoder::ComponentValType::Type(sizes.types + 1);
        types
            .function()
            .params([] as [(&str, PrimitiveValType); 0])
            .result(Some(list));
        let ranges: Vec<String> = (0..RANGES).map(|n| format!("range{n}")).collect();
        let ranges = ranges
            .iter()
            .map(|name| (name.as_str(), PrimitiveValType::U64));
        let handles = (HANDLES, PrimitiveValType::U32);
        let parameters: Vec<_> = std::iter::once(handles).chain(ranges).collect();
        types
            .function()
            .params(parameters)
            .result(Some(PrimitiveValType::Bool.into()));

        let mut of_handles = CanonicalFunctionSection::new();
        of_handles
            .resource_new(sizes.types)
            .resource_drop(sizes.types);
        let functions = sizes.core_functions;
        let mut instances = InstanceSection::new();
        instances.export_items([
            ("new", ExportKind::Func, functions),
            ("drop", ExportKind::Func, functions + 1),
        ]);
        let arguments = [
            (BASE, sizes.base),
            (MAIN, sizes.main),
            (HANDLES, sizes.instances),
        ];
        let arguments = arguments.map(|(name, instance)| (name, ModuleArg::Instance(instance)));
        instances.instantiate(sizes.modules, arguments);

        let mut aliases = ComponentAliasSection::new();
        for name in ["whole", "reset"] {
            aliases.alias(Alias::CoreInstanceExport {
                instance: sizes.instances + 1,
                kind: ExportKind::Func,
                name,
            });
        }
        let mut lifted = CanonicalFunctionSection::new();
        lifted
            .lift(
                functions + 2,
                sizes.types + 2,
                [CanonicalOption::Memory(sizes.memory)],
            )
            .lift(functions + 3, sizes.types + 3, []);
        let mut exports = ComponentExportSection::new();
        for (number, name) in (sizes.functions..).zip([&names.memory, &names.reset]) {
            exports.export(name.as_str(), ComponentExportKind::Func, number, None);
        }
        let mut added = Component::new();
        added
            .section(&types)
            .section(&of_handles)
            .section(&ModuleSection(&self.module()))
            .section(&instances)
            .section(&aliases)
            .section(&lifted)
            .section(&exports);
        added.finish().split_off(Component::HEADER.len())
    }

    fn module(&self) -> Module {
        let mut types = TypeSection::new();
        let i32s = |n: usize| vec![ValType::I32; n];
        let mut reset = i32s(1);
        reset.extend([ValType::I64; RANGES]);
        types.ty().function(i32s(1), i32s(1));
        types.ty().function(i32s(1), []);
        types.ty().function([ValType::I64], []);
        types.ty().function(reset, i32s(1));
        types.ty().function([], i32s(1));

        let mut imports = ImportSection::new();
        imports
            .import(HANDLES, "new", EntityType::Function(NEW))
            .import(HANDLES, "drop", EntityType::Function(DROP))
            .import(BASE, MEMORY, self.memory);
        let lasting = self.lasting;
        for (number, ty, _) in &lasting.globals {
            imports.import(MAIN, &global(*number), *ty);
        }
        imports.import(MAIN, &global(lasting.made), MADE);

        let mut functions = FunctionSection::new();
        functions.function(PUT).function(RESET).function(WHOLE);
        let mut exports = ExportSection::new();
        exports
            .export("reset", ExportKind::Func, RESET)
            .export("whole", ExportKind::Func, WHOLE);
        let mut code = CodeSection::new();
        code.function(&self.put())
            .function(&self.reset())
            .function(&self.whole());
        let mut data = DataSection::new();
        for run in self.runs {
            data.passive(run.bytes.iter().copied());
        }
        let mut module = Module::new();
        module
            .section(&types)
            .section(&imports)
            .section(&functions)
            .section(&exports)
            .section(&DataCountSection { count: data.len() })
            .section(&code)
            .section(&data);
        module
    }

    /// Puts a range of pages back. Most lie in one run, and are copied; what
    /// does not is emptied first.
    fn put(&self) -> Function {
        let (range, first, end, low, high) = (0, 1, 2, 3, 4);
        let mut function = Function::new([(4, ValType::I32)]);
        let mut body = function.instructions();
        body.local_get(range)
            .i64_const(32)
            .i64_shr_u()
            .i32_wrap_i64()
            .local_set(first)
            .local_get(range)
            .i32_wrap_i64()
            .local_set(end);
        let runs = (0..).zip(self.runs);
        for (number, run) in runs.clone() {
            body.local_get(first)
                .i32_const(run.first.cast_signed())
                .i32_ge_u()
                .local_get(end)
                .i32_const(run.end().cast_signed())
                .i32_le_u()
                .i32_and()
                .if_(BlockType::Empty);
            copy(&mut body, (number, run), first, end);
            body.return_().end();
        }
        bytes(&mut body, |body| body.local_get(first));
        body.i32_const(0);
        bytes(&mut body, |body| {
            body.local_get(end).local_get(first).i32_sub()
        });
        body.memory_fill(0);
        for (number, run) in runs {
            both(&mut body, first, run.first).i32_gt_u().select();
            body.local_set(low);
            both(&mut body, end, run.end()).i32_lt_u().select();
            body.local_tee(high)
                .local_get(low)
                .i32_gt_u()
                .if_(BlockType::Empty);
            copy(&mut body, (number, run), low, high);
            body.end();
        }
        body.end();
        function
    }

    /// See [`Names::reset`].
    fn reset(&self) -> Function {
        let (handles, number) = (0, 1 + RANGES as u32);
        let lasting = self.lasting;
        let made = lasting.globals.len() as u32;
        let mut function = Function::new([(1, ValType::I32)]);
        let mut body = function.instructions();
        let size = i32::try_from(self.memory.minimum).unwrap_or(-1);
        body.memory_size(0).i32_const(size).i32_ne();
        no_if(&mut body);
        // More than are looked for: no number, then, is too large for its type.
        body.global_get(made)
            .i64_const(MAX_HANDLES.into())
            .i64_gt_u();
        no_if(&mut body);
        body.global_get(made)
            .i32_wrap_i64()
            .local_get(handles)
            .i32_add()
            .local_set(handles);
        // Makes handles: so many numbers that are no larger are all there are.
        body.loop_(BlockType::Empty)
            .local_get(number)
            .local_get(handles)
            .i32_lt_u()
            .if_(BlockType::Empty)
            .i32_const(0)
            .call(NEW)
            .local_get(handles)
            .i32_gt_u();
        no_if(&mut body);
        body.local_get(number)
            .i32_const(1)
            .i32_add()
            .local_set(number)
            .br(1)
            .end()
            .end();
        // Drops them from the last.
        body.loop_(BlockType::Empty)
            .local_get(number)
            .if_(BlockType::Empty)
            .local_get(number)
            .call(DROP)
            .local_get(number)
            .i32_const(1)
            .i32_sub()
            .local_set(number)
            .br(1)
            .end()
            .end();
        body.block(BlockType::Empty);
        for range in 1..=RANGES as u32 {
            body.local_get(range)
                .i64_eqz()
                .br_if(0)
                .local_get(range)
                .call(PUT);
        }
        body.end();
        for (global, (.., begins)) in (0..).zip(&lasting.globals) {
            function.instruction(begins);
            function.instructions().global_set(global);
        }
        let mut body = function.instructions();
        body.i64_const(0).global_set(made).i32_const(1).end();
        function
    }

    /// See [`Names::memory`]. Where the answer lies is put back with the rest:
    /// the module is asked only before it puts an instance back.
    fn whole(&self) -> Function {
        let at = self.lasting.below_stack();
        let word = |offset| MemArg {
            offset,
            align: 2,
            memory_index: 0,
        };
        let mut function = Function::new([]);
        let mut body = function.instructions();
        body.i32_const(at)
            .i32_const(0)
            .i32_store(word(0))
            .i32_const(at)
            .memory_size(0)
            .i32_const(16)
            .i32_shl()
            .i32_store(word(4))
            .i32_const(at)
            .end();
        function
    }
}

/// Returns that not all is as it was, if so.
fn no_if(body: &mut InstructionSink<'_>) {
    body.if_(BlockType::Empty).i32_const(0).return_().end();
}

/// A local and a number, to choose from and to compare by.
fn both<'s, 'b>(
    body: &'s mut InstructionSink<'b>,
    local: u32,
    number: u32,
) -> &'s mut InstructionSink<'b> {
    let number = number.cast_signed();
    body.local_get(local)
        .i32_const(number)
        .local_get(local)
        .i32_const(number)
}

/// Copies what a run has for the pages from one local up to before another.
fn copy(body: &mut InstructionSink<'_>, (number, run): (u32, &Run), from: u32, to: u32) {
    let first = run.first.cast_signed();
    bytes(body, |body| body.local_get(from));
    bytes(body, |body| body.local_get(from).i32_const(first).i32_sub());
    bytes(body, |body| body.local_get(to).local_get(from).i32_sub());
    body.memory_init(0, number);
}

/// A number of pages, in bytes.
fn bytes<'b>(
    body: &mut InstructionSink<'b>,
    pages: impl for<'s> FnOnce(&'s mut InstructionSink<'b>) -> &'s mut InstructionSink<'b>,
) {
    pages(body).i32_const(PAGE_BITS).i32_shl();
}

#[cfg(test)]
mod tests {
    use wasmtime::component::{Component as Compiled, Instance, Linker, TypedFunc, WasmList};
    use wasmtime::{Engine, Store};

    use super::super::tests::component;
    use super::super::{Tied, tie};
    use super::*;

    /// What it keeps is in its memory, in globals of each kind, and in handles.
    const KEEPING: &[(&str, &str)] = &[
        (
            "(core module $main",
            r#"(type $kept (resource (rep i32)))
            (core func $new (canon resource.new $kept))
            (core func $drop (canon resource.drop $kept))
            (core instance $handles (export "new" (func $new)) (export "drop" (func $drop)))
            (core module $main
                (import "handles" "new" (func $new (param i32) (result i32)))
                (import "handles" "drop" (func $drop (param i32)))"#,
        ),
        (
            "(memory (export \"memory\") 1)",
            "(memory (export \"memory\") 3)",
        ),
        (
            "(global $stack (mut i32) (i32.const 65536))",
            r#"(global $stack (mut i32) (i32.const 1024))
            (global $constant i32 (i32.const 3))
            (global $long (mut i64) (i64.const 5))
            (global $ratio (mut f64) (f64.const 0.5))
            (global $small (mut f32) (f32.const -1))
            (func (export "hold") (result i32) (call $new (i32.const 9)))
            (func (export "free") (param i32) (call $drop (local.get 0)))
            (func (export "grow") (drop (memory.grow (i32.const 1))))
            (func (export "keep") (result i32)
                (i32.store (i32.const 16) (i32.add (i32.load (i32.const 16)) (i32.const 1)))
                (i32.store (i32.const 131070)
                    (i32.add (i32.load (i32.const 131070)) (i32.const 1)))
                (i32.store (i32.const 65536)
                    (i32.add (i32.load (i32.const 65536)) (i32.const 1)))
                (global.set $stack (i32.add (global.get $stack) (i32.const 1)))
                (global.set $long (i64.add (global.get $long) (i64.const 1)))
                (global.set $ratio (f64.add (global.get $ratio) (f64.const 1)))
                (global.set $small (f32.add (global.get $small) (f32.const 1)))
                (i32.load (i32.const 16))
                (i32.mul (i32.load (i32.const 131070)) (i32.const 3))
                (i32.mul (i32.load (i32.const 65536)) (i32.const 5))
                (i32.mul (global.get $stack) (i32.const 7))
                (i32.mul (i32.wrap_i64 (global.get $long)) (i32.const 11))
                (i32.mul (i32.trunc_sat_f64_s (global.get $ratio)) (i32.const 13))
                (i32.mul (i32.trunc_sat_f32_s (global.get $small)) (i32.const 17))
                i32.xor i32.xor i32.xor i32.xor i32.xor i32.xor)"#,
        ),
        (
            "(data (i32.const 16) \"gate\")",
            "(data (i32.const 16) \"gate\") (data (i32.const 131070) \"over\")",
        ),
        (
            "(with \"host\" (instance $imports))",
            "(with \"host\" (instance $imports)) (with \"handles\" (instance $handles))",
        ),
        (
            "(alias core export $main \"ask\" (core func $ask))",
            r#"(alias core export $main "ask" (core func $ask))
            (alias core export $main "keep" (core func $keep))
            (alias core export $main "hold" (core func $hold))
            (alias core export $main "free" (core func $free))
            (alias core export $main "grow" (core func $grow))
            (func (export "keep") (result u32) (canon lift (core func $keep)))
            (func (export "hold") (result u32) (canon lift (core func $hold)))
            (func (export "free") (param "number" u32) (canon lift (core func $free)))
            (func (export "grow") (canon lift (core func $grow)))"#,
        ),
    ];

    fn tied(changes: &[(&str, &str)]) -> Tied {
        let component = component(&[KEEPING, changes].concat());
        tie(&component, &Names::of("0")).unwrap_or_else(|e| panic!("{e}"))
    }

    /// An instance, and its functions.
    struct Kept {
        store: Store<()>,
        instance: Instance,
        reset: TypedFunc<Arguments, (bool,)>,
    }

    impl Kept {
        fn new() -> Self {
            let engine = Engine::default();
            let compiled = Compiled::from_binary(&engine, &tied(&[]).component).unwrap();
            let mut linker = Linker::<()>::new(&engine);
            let mut host = linker.instance("host").unwrap();
            host.func_wrap("shout", |_, (text,): (String,)| Ok((text,)))
                .unwrap();
            let mut store = Store::new(&engine, ());
            let instance = linker.instantiate(&mut store, &compiled).unwrap();
            let reset = instance
                .get_typed_func(&mut store, &Names::of("0").reset)
                .unwrap();
            Self {
                store,
                instance,
                reset,
            }
        }

        fn number(&mut self, name: &str) -> u32 {
            let function = self.instance.get_typed_func(&mut self.store, name);
            let function: TypedFunc<(), (u32,)> = function.unwrap();
            function.call(&mut self.store, ()).unwrap().0
        }

        fn free(&mut self, number: u32) {
            let function = self.instance.get_typed_func(&mut self.store, "free");
            let function: TypedFunc<(u32,), ()> = function.unwrap();
            function.call(&mut self.store, (number,)).unwrap();
        }

        /// The memory as it is now.
        fn memory(&mut self) -> Vec<u8> {
            let name = Names::of("0").memory;
            let function = self.instance.get_typed_func(&mut self.store, name);
            let function: TypedFunc<(), (WasmList<u8>,)> = function.unwrap();
            let (memory,) = function.call(&mut self.store, ()).unwrap();
            memory.as_le_slice(&self.store).to_vec()
        }

        /// Puts back what `keep` writes to, when so many handles were given.
        fn reset(&mut self, handles: u32) -> bool {
            self.reset_ranges(handles, [(0, 1), (31, 33), (16, 17)])
        }

        fn reset_ranges(&mut self, handles: u32, ranges: [(u64, u64); 3]) -> bool {
            let [a, b, c] = ranges.map(|(first, end)| first << 32 | end);
            let arguments = (handles, a, b, c, 0, 0, 0, 0, 0);
            self.reset.call(&mut self.store, arguments).unwrap().0
        }
    }

    #[test]
    fn an_instance_that_is_put_back_is_as_it_began() {
        let mut kept = Kept::new();
        let (first, second) = (kept.number("keep"), kept.number("keep"));
        assert_ne!(first, second);
        let exactly = [(0, 1), (31, 33), (16, 17)];
        let over_the_edges = [(0, 17), (20, 32), (32, 40)];
        let whole = [(0, 48), (0, 0), (0, 0)];
        for ranges in [exactly, over_the_edges, whole, exactly] {
            assert!(kept.reset_ranges(0, ranges));
            assert_eq!(kept.number("keep"), first);
            assert_eq!(kept.number("keep"), second);
        }
        assert!(kept.reset(0));
        let (mut now, mut new) = (kept.memory(), Kept::new().memory());
        let answer = 1008..1016;
        now[answer.clone()].fill(0);
        new[answer].fill(0);
        assert!(now == new);
    }

    #[test]
    fn handles_come_in_their_first_order() {
        let mut kept = Kept::new();
        let order = [1, 2, 3, 4];
        for frees in [[3, 1, 4, 2], [1, 2, 3, 4], [4, 3, 2, 1]] {
            assert_eq!([(); 4].map(|()| kept.number("hold")), order);
            for number in frees {
                kept.free(number);
            }
            assert!(kept.reset(0));
        }
        assert_eq!(kept.number("hold"), 1);
    }

    #[test]
    fn what_cannot_be_put_back_is_told() {
        for left in 1..4 {
            let mut kept = Kept::new();
            for number in 1..4 {
                assert_eq!(kept.number("hold"), number);
            }
            for number in (1..4).filter(|number| *number != left) {
                kept.free(number);
            }
            assert!(!kept.reset(0), "handle {left} is left");
        }
        let mut kept = Kept::new();
        for number in 1..=MAX_HANDLES {
            kept.number("hold");
            kept.free(1);
            assert!(number < MAX_HANDLES || kept.reset(0));
        }
        for _ in 0..=MAX_HANDLES {
            kept.number("hold");
            kept.free(1);
        }
        assert!(!kept.reset(0), "more handles than are looked for");
        let mut kept = Kept::new();
        let grow = kept.instance.get_typed_func(&mut kept.store, "grow");
        let grow: TypedFunc<(), ()> = grow.unwrap();
        grow.call(&mut kept.store, ()).unwrap();
        assert!(!kept.reset(0), "the memory has grown");
    }

    #[test]
    fn what_lasts_elsewhere_is_tied_and_not_put_back() {
        let global = "(global $constant i32 (i32.const 3))";
        let grow = "(drop (memory.grow (i32.const 1)))";
        let cases = [
            (
                "(func (export \"grow\") (canon",
                "(func (export \"make\") (param \"rep\" u32) (result u32) (canon lift (core func $new)))
                 (func (export \"grow\") (canon",
                "another module",
            ),
            (
                grow,
                "(table.set (i32.const 0) (ref.null func))",
                "a table that changes",
            ),
            (
                grow,
                "(drop (table.grow (ref.null func) (i32.const 1)))",
                "a table that changes",
            ),
            (grow, "(elem.drop 0)", "a table that changes"),
            (
                "(elem (i32.const 1) $asked)",
                "(elem (i32.const 0) $asked $new)",
                "cannot be counted",
            ),
            (
                "(elem (i32.const 1) $asked)",
                "(elem (table 0) (i32.const 0) funcref (ref.func $asked))",
                "computed",
            ),
            (
                "(call $new (i32.const 9))",
                "(return_call $new (i32.const 9))",
                "cannot be counted",
            ),
            (
                global,
                "(global $constant (mut funcref) (ref.null func))",
                "no number",
            ),
            (
                global,
                "(global $constant i32 (i32.const 3)) (export \"make\" (func $new))",
                "makes handles",
            ),
            (
                global,
                "(global $constant i32 (i32.const 3)) (start $begin) (func $begin)",
                "a start function",
            ),
            (
                "(global $long (mut i64) (i64.const 5))",
                "(global $long (mut i64) (i64.add (i64.const 2) (i64.const 3)))",
                "begin with a number",
            ),
            (
                "(table 2 funcref)",
                "(table 2 funcref) (table 1 externref)",
                "something else than functions",
            ),
            (
                "(core module $shim",
                "(component (core module)) (core module $shim",
                "several modules",
            ),
            (
                "(core module $shim",
                "(core module $more) (core instance (instantiate $more)) (core module $shim",
                "several modules",
            ),
        ];
        for (from, to, why) in cases {
            let tied = tied(&[(from, to)]);
            let lasts = tied.lasts.map(|why| why.to_string()).unwrap_or_default();
            assert!(lasts.contains(why), "{to}: {lasts}");
            wasmparser::validate(&tied.component).unwrap();
            let name = Names::of("0").reset;
            let found = tied.component.windows(name.len());
            assert_eq!(found.filter(|bytes| *bytes == name.as_bytes()).count(), 0);
        }
    }
}
