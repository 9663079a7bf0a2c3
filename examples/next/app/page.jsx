'use client';

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
