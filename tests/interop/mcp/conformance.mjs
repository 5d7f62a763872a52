// The MCP conformance package asks for `fs.globSync`, which Node 20 doesn't have, for a command that the tests
// don't use.

import { register } from 'node:module';

const stands_in = `export * from 'node:fs'; export { default } from 'node:fs';
export const globSync = () => { throw new Error('Node 20 has no globSync'); };`;
const hooks = `export async function resolve(specifier, context, next) {
    const of_package = context.parentURL?.includes('/@modelcontextprotocol/conformance/dist/');
    if (specifier !== 'fs' || !of_package) return next(specifier, context);
    return { url: ${JSON.stringify(`data:text/javascript,${encodeURIComponent(stands_in)}`)}, shortCircuit: true };
}`;
if (!('globSync' in (await import('node:fs')))) {
    register(`data:text/javascript,${encodeURIComponent(hooks)}`);
}
