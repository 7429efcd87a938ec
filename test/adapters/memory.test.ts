import { MemoryMachine } from "../support/memory-ports.js";
import { describeClock, describeCredentialStore, describeLock, describeTicketBook } from "./ports.contract.js";

describeCredentialStore("in memory", () => {
  const machine = new MemoryMachine();
  return {
    store: machine.start().store,
    put: (text) => {
      machine.text = text;
    },
    text: () => machine.text,
  };
});

describeTicketBook("in memory", () => {
  const process = new MemoryMachine().start();
  return { book: process.tickets, again: process.tickets };
});

describeLock("in memory", () => {
  const machine = new MemoryMachine();
  return {
    lock: machine.start().lock,
    again: machine.start().lock,
    holder: /^process 1 on memory$/,
    compromise: () => {
      machine.compromiseLock();
      return Promise.resolve();
    },
  };
});

describeClock("in memory", () => new MemoryMachine().clock);
