// Calls a service as browsers and Node do, and prints what each client understood of the answer.
//
//     node client.js http://127.0.0.1:3000 TOKEN
//
// The calls are shop.Orders/{List,Watch}, both of google.protobuf.Empty, without generated code.
import { createFileRegistry, create } from "@bufbuild/protobuf";
import {
  EmptySchema,
  FileDescriptorProtoSchema,
  file_google_protobuf_empty,
} from "@bufbuild/protobuf/wkt";
import { Code, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import grpcWeb from "grpc-web";
import xhr2 from "xhr2";

globalThis.XMLHttpRequest = xhr2;

const [base, token] = process.argv.slice(2);

const EMPTY = ".google.protobuf.Empty";
const method = (name, serverStreaming) => ({
  name,
  inputType: EMPTY,
  outputType: EMPTY,
  serverStreaming,
  // Without side effects, so that Connect may send it as a GET.
  options: { idempotencyLevel: 1 },
});
const file = create(FileDescriptorProtoSchema, {
  name: "shop.proto",
  package: "shop",
  syntax: "proto3",
  dependency: ["google/protobuf/empty.proto"],
  service: [{ name: "Orders", method: [method("List", false), method("Watch", true)] }],
});
const registry = createFileRegistry(file, () => file_google_protobuf_empty);
const Orders = registry.getService("shop.Orders");

function tell(client, call, error) {
  console.log(JSON.stringify({ client, call, ...error }));
}

// As https://github.com/grpc/grpc-web, binary and text.
function grpcWebCall(format, name, metadata) {
  const descriptor = new grpcWeb.MethodDescriptor(
    `/shop.Orders/${name}`,
    grpcWeb.MethodType.UNARY,
    Object,
    Object,
    () => new Uint8Array(),
    () => ({}),
  );
  const client = new grpcWeb.GrpcWebClientBase({ format });
  return new Promise((resolve) => {
    client.rpcCall(`${base}/shop.Orders/${name}`, {}, metadata, descriptor, (error) => {
      resolve({
        code: grpcWeb.StatusCode[error?.code] ?? error?.code,
        message: error?.message,
        details: error?.metadata?.["grpc-status-details-bin"],
        challenge: error?.metadata?.["www-authenticate"],
      });
    });
  });
}

async function connectCall(transport, name, headers) {
  const client = createClient(Orders, transport);
  try {
    if (name === "Watch") {
      for await (const _ of client.watch(create(EmptySchema), { headers })) {
        // Nothing comes.
      }
    } else {
      await client.list(create(EmptySchema), { headers });
    }
    return {};
  } catch (error) {
    return {
      code: error.code,
      name: Code[error.code],
      message: error.rawMessage,
      details: error.details.map((it) => [it.type, Buffer.from(it.value ?? []).toString("latin1")]),
      challenge: error.metadata.get("www-authenticate"),
    };
  }
}

// With HTTP/1.1, a server that answers before it has the whole request closes the connection, and Node, if
// it still writes, reports that in place of the answer: this one reads on.
const transports = {
  "connect-http1": createConnectTransport({ baseUrl: base, httpVersion: "1.1" }),
  connect: createConnectTransport({ baseUrl: base, httpVersion: "2" }),
  "connect-json": createConnectTransport({ baseUrl: base, httpVersion: "2", useBinaryFormat: false }),
  "connect-get": createConnectTransport({ baseUrl: base, httpVersion: "2", useHttpGet: true }),
  "connect-http2": createConnectTransport({ baseUrl: base, httpVersion: "2" }),
  "connect-grpc-web": createGrpcWebTransport({ baseUrl: base, httpVersion: "2" }),
};

const streaming = ["connect-http1", "connect-http2", "connect-grpc-web"];

for (const [call, headers] of [
  ["without", {}],
  ["refused", { authorization: `Bearer ${token}` }],
]) {
  for (const format of ["binary", "text"]) {
    tell(`grpc-web-${format}`, call, await grpcWebCall(format, "List", headers));
  }
  for (const [client, transport] of Object.entries(transports)) {
    tell(client, call, await connectCall(transport, "List", headers));
    if (streaming.includes(client)) {
      tell(`${client}-stream`, call, await connectCall(transport, "Watch", headers));
    }
  }
}
process.exit(0);
