// SPDX-License-Identifier: Apache-2.0
// The page of the data owner: it speaks the daemon's own HTTP API, and nothing else.
'use strict';

const at = id => document.getElementById(id);
const SCORES_SHOWN = 10;

function headers(more) {
	const token = sessionStorage.getItem('token');
	return token ? { ...more, Authorization: 'Bearer ' + token } : more;
}

// An answer's JSON, or an Error with its words.
async function call(path, options = {}) {
	let answer;
	try {
		answer = await fetch(path, { ...options, headers: headers(options.headers || {}) });
	} catch {
		throw new Error('The data owner\u2019s daemon does not answer.');
	}
	at('token-row').hidden = answer.status !== 401 && !sessionStorage.getItem('token');
	const text = await answer.text();
	let json;
	try {
		json = JSON.parse(text);
	} catch {
		throw new Error(answer.status === 413 ? 'The picture\u2019s file is too large (http_body_mib).'
						      : `The daemon answered ${answer.status}.`);
	}
	if (!answer.ok)
		throw new Error(json.error || `The daemon answered ${answer.status}.`);
	return json;
}

// ---- tables

function row(cells, classes = []) {
	const tr = document.createElement('tr');
	cells.forEach((text, i) => {
		const td = document.createElement('td');
		td.textContent = text;
		if (classes[i])
			td.className = classes[i];
		tr.append(td);
	});
	return tr;
}

function fill(id, rows) {
	document.querySelector(`#${id} tbody`).replaceChildren(...rows);
}

const bytes = n => n.toLocaleString('en') + ' B';
const ms = s => (s * 1000).toLocaleString('en', { maximumSignificantDigits: 3 }) + ' ms';

// ---- what is there now

function showModels(models) {
	const select = at('model'), had = select.value, shown = [...select.options].map(o => o.value);
	if (shown.join('\n') === models.join('\n'))
		return;
	select.replaceChildren(...models.map(name => new Option(name, name)));
	if (models.includes(had))
		select.value = had;
}

function showStatus(s) {
	at('daemon').textContent = `The daemon has been up for ${Math.round(s.uptime)} s.`;
	showModels(s.models);
	fill('peers', s.peers.map(p => row([p.role, p.address, p.state + (p.error ? ': ' + p.error : '')],
					   ['', '', p.state === 'connected' ? 'up' : 'down'])));
	fill('pools', s.pools.map(p => row([p.model, p.state, `${p.depth} of ${p.high}`, p.made, p.burnt,
					    p.burn_rate.toFixed(2)])));
}

async function watch() {
	try {
		showStatus(await call('/status.json'));
	} catch (e) {
		at('daemon').textContent = e.message;
		fill('peers', []);
		fill('pools', []);
	}
	setTimeout(watch, 1000);
}

// ---- a picture

// The protocol's binary form: JSON, then the file's length in four bytes, then the file.
function request(file) {
	const label = at('reveal').value === 'label', length = new DataView(new ArrayBuffer(4));
	const outputs = [{ name: 'label', parameters: { names: true } }, { name: 'view_data_owner' },
			 { name: 'view_model_owner' }, { name: 'layers' }];
	const parameters = { reveal: at('reveal').value, convert: true };
	if (!label)
		outputs.push({ name: 'scores', parameters: { classification: SCORES_SHOWN } });
	if (at('optimise').value)
		parameters.optimise = at('optimise').value;
	length.setUint32(0, file.size, true);
	const json = new TextEncoder().encode(JSON.stringify({
		parameters, outputs,
		inputs: [{ name: 'image', datatype: 'BYTES', shape: [1], parameters: { binary_data_size: file.size + 4 } }],
	}));
	return { body: new Blob([json, length, file]), size: json.length };
}

// CHW bytes on a canvas of the picture's own size.
function draw(canvas, output) {
	const [, c, h, w] = output.shape, plane = h * w, image = new ImageData(w, h);
	for (let i = 0; i < plane; i++) {
		for (let k = 0; k < 3; k++)
			image.data[4 * i + k] = output.data[(c === 3 ? k * plane : 0) + i];
		image.data[4 * i + 3] = 255;
	}
	canvas.width = w;
	canvas.height = h;
	canvas.getContext('2d').putImageData(image, 0, 0);
}

function drawNothing(canvas, output) {
	const [, , h, w] = output.shape, context = (canvas.width = w, canvas.height = h, canvas.getContext('2d'));
	context.fillStyle = '#808080';
	context.fillRect(0, 0, w, h);
}

// "value:index:name"
function showScores(list) {
	const parsed = list.map(text => {
		const [value, index, ...name] = text.split(':');
		return { value: Number(value), name: name.join(':') || index };
	});
	const most = parsed.length ? parsed[0].value : 1, least = Math.min(...parsed.map(p => p.value), 0);
	at('scores').replaceChildren(...parsed.map(p => {
		const li = document.createElement('li'), name = document.createElement('span'),
		      meter = document.createElement('meter'), number = document.createElement('span');
		name.textContent = p.name;
		meter.min = least;
		meter.max = most > least ? most : least + 1;
		meter.value = p.value;
		number.textContent = p.value.toFixed(3);
		li.append(name, meter, number);
		return li;
	}));
}

function showCosts(p) {
	const both = what => [p[`bytes_${what}`], p[`predicted_${what}`]].map(bytes);
	fill('costs', [
		row(['round trips', p.round_trips, p.predicted_round_trips]),
		row(['sent by us, online', ...both('online_sent')]),
		row(['received by us, online', ...both('online_received')]),
		row(['sent by us, ahead of time', ...both('offline_sent')]),
		row(['provider to model owner, ahead of time', ...both('offline_provider')]),
		row(['weights under a mask, once a session', bytes(p.setup_bytes), '']),
	]);
}

function showTimes(p, total) {
	const rest = Math.max(0, total - p.seconds_connect - p.seconds_offline - p.seconds_online);
	const parts = [['connect', 'waiting for peers and a session', p.seconds_connect],
		       ['offline', 'waiting for a ticket', p.seconds_offline],
		       ['online', 'the private inference', p.seconds_online],
		       ['rest', 'decoding, and to this page and back', rest]];
	at('bar').replaceChildren(...parts.map(([name, , seconds]) => {
		const div = document.createElement('div');
		div.className = 'time-' + name;
		div.style.flexGrow = seconds * 1e6;
		return div;
	}));
	at('times').replaceChildren(...parts.map(([name, text, seconds]) => {
		const li = document.createElement('li'), dot = document.createElement('span');
		dot.className = 'time-' + name;
		li.append(dot, `${text}: ${ms(seconds)}`);
		return li;
	}));
}

// "operator:nanoseconds computing:waiting:bytes sent:received"
function showLayers(output) {
	at('layers-part').hidden = !output;
	fill('layers', output ? output.data.map((text, i) => {
		const [operator, compute, wait, sent, received] = text.split(':');
		return row([i, operator, ms(compute / 1e9), ms(wait / 1e9), bytes(Number(sent)), bytes(Number(received))]);
	}) : []);
}

function showAnswer(answer, total) {
	const output = Object.fromEntries(answer.outputs.map(o => [o.name, o]));
	at('label').textContent = output.label.data[0];
	showScores(output.scores ? output.scores.data : []);
	draw(at('view-owner'), output.view_data_owner);
	draw(at('view-model'), output.view_model_owner);
	drawNothing(at('view-provider'), output.view_data_owner);
	showCosts(answer.parameters);
	showTimes(answer.parameters, total);
	showLayers(output.layers);
	at('result').hidden = false;
}

function showError(text) {
	at('error').textContent = text;
	at('error').hidden = !text;
}

async function classify(file) {
	const { body, size } = request(file), began = performance.now();
	showError('');
	at('result').hidden = true;
	at('state').textContent = `Classifying ${file.name} \u2026`;
	try {
		if (!at('model').value)
			throw new Error('There is no model: the model owner is not connected.');
		showAnswer(await call(`/v2/models/${encodeURIComponent(at('model').value)}/infer`, {
			method: 'POST', body,
			headers: { 'Content-Type': 'application/octet-stream', 'Inference-Header-Content-Length': size },
		}), (performance.now() - began) / 1000);
		at('state').textContent = `${file.name}: done.`;
	} catch (e) {
		showError(e.message);
		at('state').textContent = `${file.name}: not classified.`;
	}
}

at('file').addEventListener('change', e => {
	if (e.target.files.length)
		classify(e.target.files[0]);
	e.target.value = '';
});
at('drop').addEventListener('dragover', e => {
	e.preventDefault();
	at('drop').classList.add('over');
});
at('drop').addEventListener('dragleave', () => at('drop').classList.remove('over'));
at('drop').addEventListener('drop', e => {
	e.preventDefault();
	at('drop').classList.remove('over');
	if (e.dataTransfer.files.length)
		classify(e.dataTransfer.files[0]);
});
at('token-save').addEventListener('click', () => {
	sessionStorage.setItem('token', at('token').value);
	at('token').value = '';
	at('token-row').hidden = true;
});
watch();
