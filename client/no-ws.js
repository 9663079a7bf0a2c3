// What `#ws` is where the platform has a WebSocket of its own: nothing.
export {};
