/** Short names for the generated records. */
import type { components } from "./schema";

type Schemas = components["schemas"];

export type ChunkEvent = Schemas["Event"];
export type Decision = ChunkEvent["decision"];
export type CheckResult = Schemas["CheckResult"];
export type Turn = Schemas["Turn"];
export type Sampling = Schemas["Sampling"];
export type SessionOptions = Schemas["SessionOptions"];
export type SessionInfo = Schemas["SessionInfo"];
export type SessionDetail = Schemas["SessionDetail"];
export type CommitInfo = Schemas["CommitInfo"];
export type SessionDiff = Schemas["SessionDiff"];
export type Verification = Schemas["Verification"];
export type ModelInfo = Schemas["ModelInfo"];
export type TrainJob = Schemas["TrainJob"];
export type TrainPoint = Schemas["TrainPoint"];
export type TrainRequest = Schemas["TrainRequest"];
export type JobStatus = TrainJob["status"];
export type NewSessionBody = Schemas["NewSession"];
export type PresetInfo = Schemas["PresetInfo"];
export type CorpusInfo = Schemas["CorpusInfo"];
export type MonitorRequest = Schemas["MonitorRequest"];
export type MonitorOptions = Schemas["MonitorOptions"];
export type MonitorEvent = Schemas["MonitorEvent"];
export type MonitorSummary = Schemas["MonitorSummary"];
export type MonitorRun = Schemas["MonitorRun"];
export type MonitorRunDetail = Schemas["MonitorRunDetail"];
export type NamedPolicy = Schemas["NamedPolicy"];
export type RedteamReport = Schemas["RedteamReport"];
export type RedteamSummary = Schemas["RedteamSummary"];
export type RedteamRequest = Schemas["RedteamRequest"];
export type RedteamAttempt = Schemas["Attempt"];
export type RedteamFamily = Schemas["Family"];
