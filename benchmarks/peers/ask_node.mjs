// What `human` and `face-api` say of pictures; see `compare.py`.
//   node ask_node.mjs PLACE crops|frames FOLDER_OF_NODE_MODULES
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { createRequire } from 'node:module';

const [place, kind, folder] = process.argv.slice(2);
const modules = path.resolve(folder, 'node_modules');
const require = createRequire(path.join(modules, 'x.js'));
const NAMES = {
  angry: 'Anger', disgust: 'Disgust', disgusted: 'Disgust', fear: 'Fear', fearful: 'Fear', happy: 'Happiness',
  sad: 'Sadness', surprise: 'Surprise', surprised: 'Surprise', neutral: 'Neutral',
};

const tf = require('@tensorflow/tfjs');
const wasm = require('@tensorflow/tfjs-backend-wasm');
wasm.setWasmPaths(path.join(modules, '@tensorflow/tfjs-backend-wasm/dist/'));
await tf.setBackend('wasm');
await tf.ready();

const index = JSON.parse(fs.readFileSync(path.join(place, 'images.json')));
const bytes = fs.openSync(path.join(place, 'images.bin'));

function picture({ width, height, offset }) {
  const pixels = new Uint8Array(width * height * 3);
  fs.readSync(bytes, pixels, 0, pixels.length, offset);
  return tf.tensor3d(pixels, [height, width, 3], 'int32');
}

function write(name, rows) {
  fs.writeFileSync(path.join(place, name), `name,said,ms\n${rows.map((row) => row.join(',')).join('\n')}\n`);
}

const likeliest = (scores) => Object.keys(scores).reduce((a, b) => (scores[b] > scores[a] ? b : a));

// a graph model from the files of a package, without a server
function fromDisk(file) {
  return tf.loadGraphModel({
    load: async () => {
      const told = JSON.parse(fs.readFileSync(file));
      const specs = told.weightsManifest.flatMap((part) => part.weights);
      const parts = told.weightsManifest.flatMap((part) => part.paths).map((name) => fs.readFileSync(path.join(path.dirname(file), name)));
      const all = Buffer.concat(parts);
      const weightData = all.buffer.slice(all.byteOffset, all.byteOffset + all.length);
      return { modelTopology: told.modelTopology, weightSpecs: specs, weightData, format: told.format };
    },
  });
}

// ---- face-api
const faceapi = require('@vladmandic/face-api/dist/face-api.node-wasm.js');
faceapi.tf.setWasmPaths?.(path.join(modules, '@tensorflow/tfjs-backend-wasm/dist/'));
await faceapi.tf.setBackend('wasm');
await faceapi.tf.ready();
const faceapiModels = path.join(modules, '@vladmandic/face-api/model');
await faceapi.nets.faceExpressionNet.loadFromDisk(faceapiModels);
await faceapi.nets.ssdMobilenetv1.loadFromDisk(faceapiModels);
const options = new faceapi.SsdMobilenetv1Options({ minConfidence: 0.3 });
const rows = [];
for (const one of index) {
  const image = picture(one);
  let said = '';
  const began = performance.now();
  if (kind === 'crops') {
    const { asSortedArray, ...scores } = await faceapi.nets.faceExpressionNet.predictExpressions(image);
    said = NAMES[likeliest(scores)];
  } else {
    const found = await faceapi.detectAllFaces(image, options).withFaceExpressions();
    const area = (face) => face.detection.box.width * face.detection.box.height;
    if (found.length) said = NAMES[likeliest({ ...found.reduce((a, b) => (area(b) > area(a) ? b : a)).expressions })];
  }
  rows.push([one.name, said, (performance.now() - began).toFixed(3)]);
  image.dispose();
}
write('face-api.csv', rows);

// ---- human
const humanModels = path.join(modules, '@vladmandic/human/models');
const answers = [];
if (kind === 'crops') {
  // its expression net, with the preprocessing of its own source: grey, -1 to 1
  const model = await fromDisk(path.join(humanModels, 'emotion.json'));
  const order = ['angry', 'disgust', 'fear', 'happy', 'sad', 'surprise', 'neutral'];
  const side = model.inputs[0].shape[2];
  for (const one of index) {
    const image = picture(one);
    const began = performance.now();
    const scores = tf.tidy(() => {
      const small = tf.image.resizeBilinear(image.toFloat().div(255).expandDims(0), [side, side]);
      const grey = small.mul([0.2989, 0.587, 0.114]).sum(3, true);
      return model.execute(grey.sub(0.5).mul(2)).dataSync();
    });
    answers.push([one.name, NAMES[order[scores.indexOf(Math.max(...scores))]], (performance.now() - began).toFixed(3)]);
    image.dispose();
  }
} else {
  // it fetches its models, and nothing else than a server can be fetched from
  const server = http.createServer((asked, answer) => {
    fs.createReadStream(path.join(humanModels, path.basename(asked.url))).pipe(answer);
  });
  await new Promise((ready) => { server.listen(0, '127.0.0.1', ready); });
  const Human = require(path.join(modules, '@vladmandic/human/dist/human.node-wasm.js')).default;
  const human = new Human({
    backend: 'wasm',
    wasmPath: path.join(modules, '@tensorflow/tfjs-backend-wasm/dist/'),
    modelBasePath: `http://127.0.0.1:${server.address().port}/`,
    debug: false, cacheSensitivity: 0,
    filter: { enabled: false },
    face: { enabled: true, detector: { maxDetected: 5 }, iris: { enabled: false }, description: { enabled: false }, emotion: { enabled: true, minConfidence: 0 } },
    body: { enabled: false }, hand: { enabled: false }, object: { enabled: false }, gesture: { enabled: false },
  });
  for (const one of index) {
    const image = picture(one);
    const began = performance.now();
    const found = (await human.detect(image)).face ?? [];
    const area = (face) => face.box[2] * face.box[3];
    const largest = found.length ? found.reduce((a, b) => (area(b) > area(a) ? b : a)) : null;
    answers.push([one.name, largest?.emotion?.length ? NAMES[largest.emotion[0].emotion] : '', (performance.now() - began).toFixed(3)]);
    image.dispose();
  }
}
write('human.csv', answers);
process.exit(0);
