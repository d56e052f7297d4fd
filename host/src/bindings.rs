//! Rust types and traits of the contract in `wit/0.1.0`, generated.
//!
//! The world below names every stage so that one set of bindings serves them
//! all. A component needs to export only some of these interfaces: each is
//! looked up by itself (`plugin::component`), and exporting it is subscribing.

wasmtime::component::bindgen!({
    path: "../wit/0.1.0",
    inline: "
        package palisade:host;

        world plugin {
            import palisade:plugin/message@0.1.0;
            export palisade:plugin/configuration@0.1.0;
            export palisade:plugin/request-filter@0.1.0;
            export palisade:plugin/rewriter@0.1.0;
            export palisade:plugin/provider@0.1.0;
            export palisade:plugin/event-filter@0.1.0;
            export palisade:plugin/log-sink@0.1.0;
        }
    ",
    world: "palisade:host/plugin",
    imports: { default: trappable },
    exports: { default: async },
    with: {
        "palisade:plugin/message.exchange": crate::plugin::ExchangeView,
        "palisade:plugin/message.request": crate::message::Request,
        "palisade:plugin/message.response": crate::message::ResponseHead,
    },
    additional_derives: [PartialEq],
    require_store_data_send: true,
});

/// What plugins may be granted and the contract does not name: `wasi:keyvalue`.
pub mod key_value {
    wasmtime::component::bindgen!({
        path: "../wit/keyvalue",
        inline: "
            package palisade:host;

            world key-value {
                import wasi:keyvalue/store@0.2.0-draft2;
                import wasi:keyvalue/atomics@0.2.0-draft2;
            }
        ",
        world: "palisade:host/key-value",
        imports: { default: async | trappable },
        with: {
            "wasi:keyvalue/store.bucket": crate::plugin::Opened,
            "wasi:keyvalue/atomics.cas": crate::plugin::Seen,
        },
        require_store_data_send: true,
    });
}
