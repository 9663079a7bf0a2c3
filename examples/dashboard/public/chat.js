// The publish box: a line of text to a topic, and what all tabs said.
//
// Owns: the form, this tab's name, the log.
// Never: inserts what somebody wrote as anything but text; keeps more than KEEP lines.

import { $, put } from './dom.js';
import { count, timeOfDay } from './format.js';

const KEEP = 200;
const ADJECTIVES = ['Amber', 'Brisk', 'Calm', 'Clear', 'Deft', 'Early', 'Fleet', 'Keen', 'Lucid', 'Quiet', 'Sunny', 'Warm'];
const BIRDS = ['Heron', 'Kestrel', 'Lark', 'Martin', 'Osprey', 'Plover', 'Robin', 'Swift', 'Tern', 'Wagtail', 'Wren', 'Finch'];

const pick = (list) => list[Math.floor(Math.random() * list.length)];

export function createChat(link) {
  const log = $('chat-log');
  const lines = $('chat-lines');
  const form = $('chat-form');
  const sender = crypto.randomUUID(); // tells this tab's own lines from those of its namesakes
  let follow = null; // whether the log goes on to its end with the next frame; null: no line was added since the last
  $('chat-nick').value = stored('nick') ?? `${pick(ADJECTIVES)} ${pick(BIRDS)}`;

  $('chat-nick').addEventListener('change', () => stored('nick', $('chat-nick').value));
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const text = $('chat-input').value.trim();
    if (text === '') return;
    const topic = $('chat-topic').value.trim() || 'chat';
    if (link.send('publish', { topic, text, nick: $('chat-nick').value.trim(), sender })) {
      $('chat-input').value = '';
      notice('');
    } else notice('Not connected: your message is still here.');
  });
  link.addEventListener('state', ({ detail }) => {
    $('chat-send').disabled = detail.state !== 'live';
    if (detail.state === 'live') notice('');
  });

  function notice(text) {
    put($('chat-notice'), text);
  }

  function add(message) {
    if (typeof message?.text !== 'string') return;
    // Once a frame: the page is laid out to know, and what was missed comes by the hundred.
    if (follow === null) {
      follow = log.scrollHeight - log.scrollTop - log.clientHeight < 24;
      requestAnimationFrame(() => {
        if (follow) log.scrollTop = log.scrollHeight;
        follow = null;
      });
    }
    follow ||= message.sender === sender;
    const item = document.createElement('li');
    item.dataset.testid = 'chat-message';
    item.classList.toggle('own', message.sender === sender);
    const head = document.createElement('div');
    const nick = element('b', String(message.nick));
    nick.style.setProperty('--hue', String(hue(String(message.nick))));
    head.append(nick);
    if (message.topic !== 'chat') head.append(element('span', String(message.topic), 'topic'));
    if (typeof message.at === 'number') head.append(element('time', timeOfDay(message.at)));
    item.append(head, element('p', message.text));
    lines.append(item);
    while (lines.childElementCount > KEEP) lines.firstElementChild.remove();
    $('chat-empty').hidden = true;
  }

  return {
    add,
    notice,
    /** After a (re)connect: what was said so far, as the server remembers it. */
    replace(messages) {
      lines.replaceChildren();
      $('chat-empty').hidden = messages.length > 0;
      for (const message of messages) add(message);
      log.scrollTop = log.scrollHeight;
    },
    listening(n) {
      put($('chat-listening'), n === undefined ? '' : `${count(n)} listening`);
    },
  };
}

function element(name, text, className = '') {
  const node = document.createElement(name);
  node.textContent = text;
  if (className !== '') node.className = className;
  return node;
}

/** A colour for a name: the golden angle keeps similar names apart. */
function hue(text) {
  let hash = 7;
  for (const character of text) hash = (hash * 31 + character.codePointAt(0)) % 65521;
  return Math.round((hash * 137.508) % 360);
}

/** This tab's memory; a browser that forbids it just forgets the name. */
function stored(key, value) {
  try {
    if (value === undefined) return sessionStorage.getItem(key);
    sessionStorage.setItem(key, value);
  } catch {
    return null;
  }
}
