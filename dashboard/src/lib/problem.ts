/** RFC 9457 problem documents, and what to show where there is none. */

export interface FieldProblem {
  field: string;
  message: string;
}

export class ApiProblem extends Error {
  constructor(
    readonly status: number,
    readonly title: string,
    readonly detail: string,
    readonly fields: FieldProblem[] = [],
  ) {
    super(detail || title);
    this.name = "ApiProblem";
  }
}

const object = (value: unknown): Record<string, unknown> | null =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : null;

const text = (value: unknown): string => (typeof value === "string" ? value : "");

/** Reads a problem document; also FastAPI's own `{"detail": [{loc, msg}]}`, and plain text. */
export function toProblem(status: number, body: unknown): ApiProblem {
  const document = object(body);
  if (!document) return new ApiProblem(status, `HTTP ${status}`, text(body).trim() || reason(status));
  const listed = Array.isArray(document.errors) ? document.errors : Array.isArray(document.detail) ? document.detail : [];
  const fields = listed.flatMap((entry): FieldProblem[] => {
    const item = object(entry);
    if (!item) return [];
    const path = Array.isArray(item.loc) ? item.loc.filter((part) => part !== "body").join(".") : text(item.field);
    return [{ field: path, message: text(item.msg) || text(item.message) || text(item.detail) }];
  });
  const title = text(document.title) || `HTTP ${status}`;
  const said = text(document.detail);
  const detail = said || fields.map((entry) => `${entry.field}: ${entry.message}`).join("; ") || reason(status);
  return new ApiProblem(status, title, detail, said ? [] : fields);
}

/** Any thrown value as a problem; a failed fetch means that the server is away. */
export function fromError(error: unknown): ApiProblem {
  if (error instanceof ApiProblem) return error;
  if (error instanceof TypeError) {
    return new ApiProblem(0, "No answer", "The server does not answer. Is `fastweights up` still running?");
  }
  return new ApiProblem(0, "Error", error instanceof Error ? error.message : String(error));
}

function reason(status: number): string {
  if (status === 502 || status === 503 || status === 504) return "The server does not answer. Is `fastweights up` running?";
  return `The server answered with status ${status} and no further detail.`;
}
