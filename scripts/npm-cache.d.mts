export function installOnce(name: string, spec: string, file: string): string;
