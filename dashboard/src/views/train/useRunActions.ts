import { useMutation } from "@tanstack/react-query";
import { api, take } from "../../api/client";
import { putJob } from "../../api/follow";
import { jobs, readAnew } from "../../api/queries";
import type { TrainJob, TrainRequest } from "../../api/types";
import type { Run } from "../../lib/runs";

const done = (job: TrainJob) => {
  putJob(job);
  void readAnew(jobs.queryKey);
};

export function useRunActions() {
  const cancel = useMutation({
    mutationFn: (id: string) => take(api.POST("/api/text/train/{model_id}/cancel", { params: { path: { model_id: id } } })),
    onSuccess: done,
  });
  const resume = useMutation({
    mutationFn: (run: Run) => {
      const body: Partial<TrainRequest> = { resume: run.id }; // all else is as it was: the server takes nothing with it
      return take(api.POST("/api/text/train", { body: body as TrainRequest }));
    },
    onSuccess: done,
  });
  return { cancel, resume };
}
