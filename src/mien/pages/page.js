// The page's own code: sends files, asks how far they are, shows what came of them.
"use strict";

const KINDS = {
  "timeline.html": "report, for a browser",
  "timeline.csv": "table, a row for every frame and person (CSV)",
  "segments.csv": "segments (CSV)",
  "timeline.json": "everything (JSON)",
  "timeline.parquet": "table for polars and pandas (Parquet)",
  "timeline.svg": "chart (SVG)",
  "timeline.png": "chart (PNG)",
  "timeline.mp4": "film with boxes and labels (MP4)",
  "timeline.vtt": "subtitles (WebVTT)",
  "timeline.srt": "subtitles (SRT)",
  "timeline.eaf": "ELAN",
  "timeline.TextGrid": "Praat",
  "timeline.openface.csv": "OpenFace's columns (CSV)",
  "timeline.affwild2.txt": "Aff-Wild2's labels",
  "timeline.zip": "all of them (ZIP)",
};
const KEY = "mien-jobs";
const largest = Number(document.documentElement.dataset.largest);
const byId = (id) => document.getElementById(id);
const cards = new Map(); // token → its card
let asking = 0;

function say(words) { byId("said").textContent = words; }

// From the lowest card up, for the last one that is made comes to stand on top.
function remember() {
  const shown = [...byId("jobs").children];
  const upwards = [...cards].sort(([, one], [, other]) => shown.indexOf(other.item) - shown.indexOf(one.item));
  sessionStorage.setItem(KEY, JSON.stringify(upwards.map(([token, card]) => [token, card.name])));
  byId("none").hidden = byId("jobs").children.length > 0;
}

function change(address, method) { return fetch(address, { method, headers: { "X-Mien": "1" } }); }

function makeCard(name) {
  const item = byId("job").content.cloneNode(true).firstElementChild;
  const part = (selector) => item.querySelector(selector);
  part(".name").textContent = name;
  part("progress").setAttribute("aria-label", `How far ${name} is`);
  byId("jobs").prepend(item);
  byId("none").hidden = true;
  const card = { item, part, name, token: null, charts: 0, over: false, request: null, remembered: false };
  part(".stop").addEventListener("click", () => {
    part(".stop").disabled = true;
    if (card.request) card.request.abort();
    if (card.cut) card.cut();
    if (card.token) change(`jobs/${card.token}/stop`, "POST").then(ask);
  });
  part(".remove").addEventListener("click", () => {
    if (card.token) { change(`jobs/${card.token}`, "DELETE"); cards.delete(card.token); }
    item.remove();
    remember();
    byId("files").focus();
  });
  part(".show").addEventListener("click", () => {
    const frame = part(".report");
    frame.hidden = !frame.hidden;
    if (!frame.src) { frame.title = `Report of ${name}`; frame.src = `jobs/${card.token}/files/timeline.html?view=true`; }
    part(".show").setAttribute("aria-expanded", String(!frame.hidden));
    part(".show").textContent = frame.hidden ? "Show the report" : "Hide the report";
  });
  return card;
}

function adopt(card, token) {
  card.token = token;
  cards.set(token, card);
  remember();
  ask();
}

// The state is read out when it changes, how far it is is not.
function put(card, words, far = "") {
  if (card.part(".state").textContent !== words) card.part(".state").textContent = words;
  card.part(".far").textContent = far;
}

function finish(card, words, state) {
  card.over = true;
  card.item.className = state;
  put(card, words);
  card.part("progress").hidden = true;
  card.part(".stop").hidden = true;
  card.part(".remove").hidden = false;
  if (state !== "done") card.part(".latest").textContent = "";
}

function sendAll(files) {
  const named = [...files].reverse().map((file) => [makeCard(file.name), file]); // the first comes to stand on top
  for (const [card, file] of named.reverse()) send(card, file);
}

function send(card, file) {
  const wishes = ["voice", "film", "video", "blur"].map((id) => `${id}=${byId(id).checked}`).join("&");
  if (file.size > largest) {
    finish(card, `${file.name} has ${Math.round(file.size / 1e6)} MB, and up to ${Math.round(largest / 1e6)} MB are taken; ` +
      "cut it, or use  mien analyze  on the command line, which takes any size.", "failed");
    return;
  }
  const request = card.request = new XMLHttpRequest();
  request.open("POST", `jobs?name=${encodeURIComponent(file.name)}&${wishes}`);
  request.setRequestHeader("X-Mien", "1");
  request.responseType = "json";
  put(card, "Being sent.");
  request.upload.addEventListener("progress", (event) => {
    if (event.lengthComputable && event.total) card.part("progress").value = event.loaded / event.total;
  });
  request.addEventListener("load", () => {
    card.request = null;
    if (request.status === 201) adopt(card, request.response.token);
    else finish(card, (request.response && request.response.detail) || `The server says ${request.status}.`, "failed");
  });
  request.addEventListener("error", () => finish(card, "The server does not answer; is it still running?", "failed"));
  request.addEventListener("abort", () => finish(card, "Cancelled.", "cancelled"));
  request.send(file);
}

// What is filmed is sent as it comes, in order, and looked at meanwhile.
async function film() {
  if (!navigator.mediaDevices || !window.MediaRecorder) {
    say("This browser gives the camera only to pages of this machine or over https.");
    return;
  }
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 480, frameRate: 25 }, audio: true });
  } catch (error) {
    say(`The camera or the microphone is not to be had (${error.name}); connect them, and allow this page to use them.`);
    return;
  }
  say("");
  const kind = ["video/webm;codecs=vp8,opus", "video/webm", "video/mp4"].find((each) => MediaRecorder.isTypeSupported(each));
  const now = new Date().toTimeString().slice(0, 8).replaceAll(":", "-");
  const name = `camera ${now}.${kind.startsWith("video/webm") ? "webm" : "mp4"}`;
  const card = makeCard(name);
  const recorder = new MediaRecorder(stream, { mimeType: kind, videoBitsPerSecond: 1500000 });
  const headers = { "X-Mien": "1" };
  let sent = fetch(`films?name=${encodeURIComponent(name)}&voice=${byId("voice").checked}`, { method: "POST", headers })
    .then((answer) => answer.json()).then((told) => { adopt(card, told.token); });
  const stop = () => { if (recorder.state !== "inactive") recorder.stop(); };
  recorder.addEventListener("dataavailable", (event) => {
    sent = sent.then(() => fetch(`films/${card.token}`, { method: "POST", headers, body: event.data })).then((answer) => {
      if (!answer.ok) stop(); // it was cancelled, or is as large as is taken
    });
  });
  recorder.addEventListener("stop", () => {
    for (const track of stream.getTracks()) track.stop();
    byId("preview").srcObject = null;
    byId("preview").hidden = byId("cut").hidden = true;
    byId("camera").hidden = false;
    byId("camera").focus();
    sent.then(() => change(`films/${card.token}/end`, "POST")).catch(() => say("The server does not answer; is it still running?"));
  });
  byId("cut").onclick = card.cut = stop;
  byId("camera").hidden = true;
  byId("preview").hidden = byId("cut").hidden = false;
  byId("preview").srcObject = stream;
  byId("preview").play();
  byId("cut").focus();
  recorder.start(200);
}

function clock(seconds) {
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

function show(card, told) {
  if (told === null && card.remembered) { card.item.remove(); cards.delete(card.token); remember(); return; } // its time was up meanwhile
  card.remembered = false;
  if (told === null) { finish(card, "Not here any more: its time was up, or the server was started anew.", "failed"); return; }
  const bar = card.part("progress");
  card.part(".latest").textContent = told.latest;
  if (told.charts > card.charts) {
    card.charts = told.charts;
    const chart = card.part(".chart");
    const drawn = new Image();
    drawn.onload = () => { chart.src = drawn.src; chart.hidden = false; };
    drawn.src = `jobs/${card.token}/chart.svg?n=${told.charts}`;
    chart.alt = `Chart of ${told.name}: who shows which expression over time. ${told.latest}`;
  }
  if (told.state === "arriving" || told.state === "live") {
    const dropped = told.dropped ? `; ${told.dropped} frames came too fast to be looked at` : "";
    put(card, "Live, from the past alone:", `${clock(told.done)}${dropped}`);
    bar.removeAttribute("value");
  } else if (told.state === "waiting") {
    put(card, told.before === 1 ? "Waiting; one file comes first." : `Waiting; ${told.before} files come first.`);
    bar.removeAttribute("value");
  } else if (told.state === "analyzing") {
    const far = told.total ? `${clock(told.done)} of ${clock(told.total)}` : clock(told.done);
    const what = told.what || "opening";
    put(card, `${what[0].toUpperCase()}${what.slice(1)}:`, far);
    if (told.total) bar.value = Math.min(told.done / told.total, 1); else bar.removeAttribute("value");
  } else if (told.state === "done") {
    finish(card, "Done.", "done");
    card.part(".latest").textContent = "";
    card.part(".show").hidden = false;
    card.part(".downloads").hidden = false;
    card.part(".downloads ul").replaceChildren(...Object.entries(told.files).map(([name, size]) => {
      const link = document.createElement("a");
      link.href = `jobs/${card.token}/files/${name}`;
      link.download = "";
      link.textContent = `${name}: ${KINDS[name]}`;
      const line = document.createElement("li");
      line.append(link, ` ${size < 1e6 ? Math.ceil(size / 1e3) + " kB" : (size / 1e6).toFixed(1) + " MB"}`);
      return line;
    }));
  } else if (told.state === "failed") finish(card, told.message, "failed");
  else if (told.state === "cancelled") finish(card, "Cancelled.", "cancelled");
}

async function ask() {
  clearTimeout(asking);
  if (!cards.size) return;
  let running = [...cards.values()].some((card) => !card.over);
  try {
    const answer = await fetch(`jobs?${[...cards.keys()].map((token) => `job=${token}`).join("&")}`);
    for (const [token, told] of Object.entries(await answer.json())) {
      const card = cards.get(token);
      if (card && !card.over) show(card, told);
    }
    say("");
    running = [...cards.values()].some((card) => !card.over);
  } catch {
    if (running) say("The server does not answer; is it still running?");
  }
  clearTimeout(asking);
  asking = setTimeout(ask, running ? 250 : 60000); // asking also says that somebody still looks
}

byId("files").addEventListener("change", (event) => {
  sendAll(event.target.files);
  event.target.value = "";
});
for (const kind of ["dragover", "dragenter"]) {
  document.addEventListener(kind, (event) => { event.preventDefault(); byId("drop").classList.add("over"); });
}
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) byId("drop").classList.remove("over"); });
document.addEventListener("drop", (event) => {
  event.preventDefault();
  byId("drop").classList.remove("over");
  sendAll(event.dataTransfer.files);
});
byId("camera").addEventListener("click", film);
byId("blur").addEventListener("change", () => { byId("film").disabled = byId("blur").checked; if (byId("blur").checked) byId("film").checked = false; });

for (const [token, name] of JSON.parse(sessionStorage.getItem(KEY) || "[]")) {
  const card = makeCard(name);
  card.token = token;
  card.remembered = true;
  cards.set(token, card);
}
ask();
