import { useDocumentTitle } from "@mantine/hooks";

export const useTitle = (page: string): void => useDocumentTitle(`${page} · Fastweights`);
