import react from '@vitejs/plugin-react';

/** While working the page comes from Vite, and its socket goes on to the engine. @type {import('vite').UserConfig} */
export default {
  root: import.meta.dirname,
  plugins: [react()],
  server: { proxy: { '/wse': { target: process.env.WSE_URL ?? 'ws://127.0.0.1:8787', ws: true } } },
};
