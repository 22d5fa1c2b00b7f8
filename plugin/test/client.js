'use strict';

/*
 * Requests to the HTTP API in the name of whoever has a key, or has signed in.
 */

const assert = require('assert');

class Client {
  constructor(node, headers) {
    this.node = node;
    this.headers = headers;
  }

  static withKey(node, key) {
    return new this(node, {Authorization: `Bearer ${key}`});
  }

  static async signIn(node, name, password) {
    const client = new this(node, {});
    const res = await client.ask('POST', 'session', {name, password});

    assert.strictEqual(res.status, 200);

    const {csrf_token: token} = res.body;
    const [cookie] = res.headers.get('set-cookie').split(';');

    return new this(node, {'Cookie': cookie, 'X-CSRF-Token': token});
  }

  async ask(method, path, body = null) {
    const url = `http://127.0.0.1:${this.node.ports.dashboard}/api/v1/${path}`;
    const res = await fetch(url, {
      method, body: body && JSON.stringify(body),
      headers: {...this.headers, 'Content-Type': 'application/json'}
    });
    const text = await res.text();

    return {status: res.status, headers: res.headers,
      body: text === '' ? null : JSON.parse(text)};
  }

  async expect(status, method, path, body) {
    const res = await this.ask(method, path, body);

    assert.strictEqual(res.status, status,
      `${method} ${path}: ${JSON.stringify(res.body)}`);

    return res.body;
  }
}

module.exports = {Client};
