'use strict';
// Keeps a page fresh: asks for it again and puts its main part in place. Says when nobody answers. Without it the page
// refreshes itself.
(() => {
  const lost = document.getElementById('lost');
  const every = Number(document.querySelector('main')?.dataset.live);
  const patience = 5000;
  const hidden = 15000;
  let last = new Date();
  let pressed = false;
  let timer;
  // What is pressed must still be there when it is let go.
  addEventListener('pointerdown', () => { pressed = true; });
  for (const end of ['pointerup', 'pointercancel']) addEventListener(end, () => { setTimeout(() => { pressed = false; }, 0); });

  const ago = (then) => {
    const signed = Math.round((Date.now() - then) / 1000);
    const s = Math.abs(signed);
    const units = [[60, 1, 's'], [7200, 60, 'min'], [172800, 3600, 'h'], [Infinity, 86400, 'days']];
    const [, length, unit] = units.find(([most]) => s < most);
    const span = `${Math.floor(s / length)} ${unit}`;
    return signed < 0 ? `in ${span}` : `${span} ago`;
  };

  const clock = (then) => {
    const isToday = then.toDateString() === new Date().toDateString();
    return isToday ? then.toLocaleTimeString() : then.toLocaleString();
  };

  // The exact time stays within reach.
  const say = (root) => {
    for (const time of root.querySelectorAll('time[datetime]')) {
      const then = new Date(time.dateTime);
      if (Number.isNaN(then.getTime())) continue;
      time.title = then.toLocaleString();
      // Within a sentence, the time of day.
      time.textContent = time.className === 'at' ? clock(then) : ago(then);
    }
  };

  // The same scheme as here.
  const lead = (root) => {
    for (const link of root.querySelectorAll('a[data-console]')) link.href = `${location.protocol}//${link.dataset.console}/`;
  };

  const swap = (page) => {
    const selection = document.getSelection();
    if (pressed || (selection && !selection.isCollapsed)) return;
    const open = [...document.querySelectorAll('main details[open]')].map((one) => one.id);
    const focused = document.activeElement?.id;
    for (const part of ['main', '.top']) {
      const [here, there] = [document.querySelector(part), page.querySelector(part)];
      if (here && there && here.innerHTML !== there.innerHTML) here.replaceChildren(...there.childNodes);
    }
    for (const id of open) if (id) document.getElementById(id)?.setAttribute('open', '');
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
    document.title = page.title;
    say(document);
    lead(document);
  };

  const answered = (yes) => {
    if (yes) last = new Date();
    if (lost) {
      lost.querySelector('[data-since]').textContent = last.toLocaleTimeString();
      lost.hidden = yes;
    }
    document.body.classList.toggle('stale', !yes);
  };

  const look = async () => {
    timer = undefined;
    try {
      const answer = await fetch(location.href, { cache: 'no-store', signal: AbortSignal.timeout(patience) });
      // The session has ended.
      if (answer.redirected) return location.reload();
      if (!answer.ok) throw new Error(String(answer.status));
      swap(new DOMParser().parseFromString(await answer.text(), 'text/html'));
      answered(true);
    } catch {
      answered(false);
    }
    timer = setTimeout(look, document.hidden ? hidden : every);
  };

  say(document);
  lead(document);
  if (every > 0) {
    timer = setTimeout(look, every);
    // Who comes back sees what is so now.
    addEventListener('visibilitychange', () => {
      if (document.hidden || timer === undefined) return;
      clearTimeout(timer);
      look();
    });
  }
})();
