'use client';

// A bare WebSocket, so that nothing but the reload and the port is shown; a page of your own has `wse-client/react`, which
// reconnects and is asked for nothing below (examples/vite-react).
import { useEffect, useState } from 'react';

export default function Page() {
  const [number, setNumber] = useState();
  useEffect(() => {
    const socket = new WebSocket('/ws');
    socket.onmessage = ({ data }) => {
      const { t, p } = JSON.parse(data);
      if (t === 'tick') setNumber(p.number);
    };
    return () => socket.close();
  }, []);
  return <h1>tick {number ?? '…'}</h1>;
}
